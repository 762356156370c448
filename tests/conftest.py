"""How thorough the property tests are: HYPOTHESIS_PROFILE says, else "ci" where CI=true, else "default"."""

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None, database=None, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]
)

settings.register_profile("default", _COMMON, max_examples=150)
settings.register_profile("ci", _COMMON, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "default"))
