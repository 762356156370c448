"""`GET /metrics` of a real server: what was done is counted, once, where it belongs."""

from pathlib import Path

import httpx

from aka.server.errors import PREFIX, STATUS
from aka.server.methods import METHODS, SERVICE
from aka.v1 import alias_service_pb2 as v1
from tests.cli.command import aka, serving
from tests.telemetry.conftest import ADDRESSES, Served
from tests.telemetry.scraping import Scrape, metrics_address, post, scrape


def calls(scrape: Scrape, method: str, code: str) -> float:
    return scrape("aka_calls_total", service=SERVICE, method=method, code=code)


def test_calls_are_counted_by_method_and_code_whatever_they_came_by(used: Scrape) -> None:
    assert calls(used, "Alias", "OK") == 3  # two over gRPC, one by POST /alias
    assert calls(used, "Alias", "INVALID_ARGUMENT") == 1
    assert calls(used, "Alias", "UNAUTHENTICATED") == 1
    assert calls(used, "Resolve", "OK") == 2


def test_every_method_is_there_before_its_first_call(fresh: Scrape) -> None:
    for method in METHODS:
        assert fresh("aka_call_seconds_count", service=SERVICE, method=method) == 0


def test_each_calls_time_is_in_the_histogram_of_its_method(used: Scrape) -> None:
    labels = {"service": SERVICE, "method": "Alias"}
    assert used("aka_call_seconds_count", **labels) == 5
    assert used("aka_call_seconds_bucket", **labels, le="+Inf") == 5
    assert 0 < used("aka_call_seconds_sum", **labels) < 60


def test_every_reason_is_there_before_its_first_refusal(fresh: Scrape) -> None:
    names = {v1.ErrorReason.Name(reason).removeprefix(PREFIX) for reason in STATUS}
    assert fresh.labelled("aka_refusals_total", "reason") == dict.fromkeys(names, 0)


def test_refusals_of_calls_and_of_items_are_counted_by_reason(used: Scrape) -> None:
    refused = {reason: count for reason, count in used.labelled("aka_refusals_total", "reason").items() if count}
    assert refused == {"KEY_INVALID": 1, "FIELD_REQUIRED": 1, "USER_NOT_FOUND": 3}


def test_committed_changes_are_counted_by_kind(fresh: Scrape, used: Scrape) -> None:
    none = dict.fromkeys(("created", "linked", "unlinked", "identified", "merged"), 0)
    assert fresh.labelled("aka_store_changes_total", "kind") == none
    changed = used.labelled("aka_store_changes_total", "kind")
    assert changed == none | {"created": 2, "linked": 2, "unlinked": 1, "merged": 1}


def test_groups_and_their_commits_are_counted(fresh: Scrape, used: Scrape) -> None:
    groups = [scrape("aka_store_group_size_count", queue="changes") for scrape in (fresh, used)]
    commits = [scrape("aka_store_commit_seconds_count") for scrape in (fresh, used)]
    assert groups[1] - groups[0] == commits[1] - commits[0] == 6  # one a call that changes, since none overlapped
    assert used("aka_store_commit_seconds_sum") > 0
    assert used("aka_store_group_size_sum", queue="reads") == 1  # one of many keys; small reads need no group


def test_what_was_looked_up_is_counted_by_where_it_was_found(fresh: Scrape, used: Scrape) -> None:
    assert set(fresh.labelled("aka_store_resolutions_total", "from").values()) == {0}
    assert used("aka_store_resolutions_total", **{"from": "database"}) > 0
    assert 0 < used("aka_store_resolutions_kept") <= used("aka_store_resolutions_total", **{"from": "database"})


def test_nothing_waits_and_nothing_ran_again_in_an_idle_server(used: Scrape) -> None:
    for queue in ("changes", "reads"):
        assert used("aka_store_waiting", queue=queue) == 0
        assert used("aka_store_retries_total", queue=queue) == 0


def test_the_size_of_the_store_is_that_of_its_files(served: Served, used: Scrape) -> None:
    def sizes() -> dict[str, int]:
        files = {"database": served.folder / "aka.db", "wal": served.folder / "aka.db-wal"}
        return {name: path.stat().st_size for name, path in files.items()}

    before, told, after = sizes(), scrape(served.metrics).labelled("aka_store_bytes", "file"), sizes()
    assert told.keys() == before.keys()
    for file, size in told.items():
        assert before[file] <= size <= after[file]  # the uses of keys may be written meanwhile


def test_requests_are_counted_by_endpoint_and_status(used: Scrape) -> None:
    counted = {
        (dict(labels)["endpoint"], dict(labels)["status"]): value
        for (name, labels), value in used.samples.items()
        if name == "aka_http_requests_total"
    }
    assert counted == {
        ("/alias", "200"): 1,
        ("/alias", "400"): 1,
        ("/aka.v1.AliasService/{method}", "200"): 1,
        ("other", "404"): 1,
    }
    assert used("aka_http_request_seconds_count", endpoint="/alias") == 2


def test_the_version_and_the_process_are_there(used: Scrape) -> None:
    assert list(used.labelled("aka_build_info", "version").values()) == [1]
    assert used("process_resident_memory_bytes") > 1_000_000


def test_a_store_in_memory_has_a_size_too(tmp_path: Path) -> None:
    settings = {"database_url": "sqlite:///:memory:", "metrics_address": "127.0.0.1:0"}
    with serving(cwd=tmp_path, settings=settings) as server:
        assert scrape(metrics_address(server.stderr)).labelled("aka_store_bytes", "file").keys() == {"memory"}


def test_a_gateway_of_its_own_counts_its_requests(served: Served, tmp_path: Path) -> None:
    target = ("--target", served.server.address)
    with serving(*target, cwd=tmp_path, settings=ADDRESSES, command="gateway") as gateway:
        assert post(gateway.rest, "/v1/users", {"user_id": "by-the-gateway"}) == 200
        shown = scrape(metrics_address(gateway.stderr))
    assert shown("aka_http_requests_total", endpoint="/v1/users", status="200") == 1
    assert not [name for name in shown.families if name.startswith(("aka_call", "aka_store", "aka_refusals"))]


def test_metrics_are_on_their_own_address_alone(served: Served) -> None:
    assert httpx.get(f"http://{served.server.rest}/metrics", trust_env=False).status_code == 404
    assert httpx.get(f"http://{served.metrics}/healthz", trust_env=False).status_code == 404


def test_without_an_address_no_metrics_are_served(tmp_path: Path) -> None:
    with serving(cwd=tmp_path) as server:
        assert metrics_address(server.stderr) == "-"


def test_a_metrics_address_in_use_is_one_line_and_1(served: Served, tmp_path: Path) -> None:
    ended = aka("serve", "--metrics-address", served.metrics, cwd=tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors[-1].startswith(f"aka: cannot listen on {served.metrics}: ")


def test_prometheus_own_accept_header_gets_openmetrics(served: Served) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = httpx.get(f"http://{served.metrics}/metrics", headers={"accept": accept}, trust_env=False)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
