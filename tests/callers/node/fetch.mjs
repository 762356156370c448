// Posts what its argument says, {"url", "headers", "body"}, by fetch, and prints the answer, {"status", "body"}.
const { url, headers, body } = JSON.parse(process.argv[2]);
const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
console.log(JSON.stringify({ status: answer.status, body: await answer.json() }));
