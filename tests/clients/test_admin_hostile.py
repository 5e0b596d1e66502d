"""Requests to the admin API that no friend would make: refused with a reason, counted, and nobody is harmed."""

import http.client
import json
import socket
import threading
import time
import urllib.request

import pytest

from admin_api import Api, quote
from broker import Broker
from environment import setting

pytestmark = pytest.mark.python

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}
RECORDS = "/v1/topics/t/records"
CONNECTIONS = 64
WAITS = 32


@pytest.fixture
def api(broker):
    """An API that must work as well after the test as before."""
    api = Api(broker)
    api.create("t")
    yield api
    api.close()
    assert api.get("/v1/node").value["problems"] == []
    (place,) = api.write("t", {"value": "still here"})
    assert api.read("t", offset=place[1])["records"][0]["value"] == "still here"


def metric(broker, name: str) -> float:
    """The sample of the HTTP listener."""
    with urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}{{") and 'listener="http"' in line]
    return float(line.rsplit(" ", 1)[1])


def exchange(broker, sent: bytes) -> bytes:
    """What comes back until the connection is closed."""
    host, port = broker.http.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(sent)
        received = b""
        while True:
            try:
                more = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not more:
                return received
            received += more


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


# Pages of strangers in a browser of this machine.


@pytest.mark.parametrize("method, path", [("GET", "/v1/topics"), ("POST", "/v1/topics"), ("DELETE", "/v1/topics/t")])
def test_pages_of_strangers_are_refused(api, method, path):
    body = b'{"name":"theirs"}' if method == "POST" else None
    for origin in ["https://evil.example", "http://127.0.0.1", f"http://127.0.0.1:{api.port + 1}", "null", "\xe4"]:
        answer = api.raw(method, path, body, {**JSON, "Origin": origin})
        assert (answer.status, answer.code) == (403, "foreign_origin"), origin
        assert "access-control-allow-origin" not in answer.headers
    for site in ["cross-site", "same-site"]:
        answer = api.raw(method, path, body, {**JSON, "Sec-Fetch-Site": site})
        assert (answer.status, answer.code) == (403, "foreign_origin"), site
    assert [topic["name"] for topic in api.get("/v1/topics").value["topics"]] == ["t"]
    ours = {"Origin": f"http://127.0.0.1:{api.port}", "Sec-Fetch-Site": "same-origin"}
    assert api.raw("GET", "/v1/topics", None, ours).status == 200


def test_a_page_that_asks_first_is_not_allowed_to(api):
    asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "content-type"}
    answer = api.raw("OPTIONS", "/v1/topics/t", None, asked)
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_name_that_points_here_is_not_ours(broker, api):
    """DNS rebinding: the page's name is the host's, so its origin is."""
    for host in [f"evil.example:{api.port}", "evil.example", "localhost.evil.example", "10.0.0.1", ""]:
        headers = {"Host": host, "Origin": f"http://{host}"}
        answer = api.raw("GET", "/v1/topics", None, headers)
        assert (answer.status, answer.code) == (421, "foreign_host"), host
        answer = api.raw("POST", "/v1/topics", b'{"name":"theirs"}', {**JSON, "Host": host})
        assert answer.code == "foreign_host"
    for host in [f"127.0.0.1:{api.port}", "localhost", f"LOCALHOST:{api.port}", "[::1]:1"]:
        assert api.raw("GET", "/v1/topics", None, {"Host": host}).status == 200, host
    # Metrics have names of topics and groups.
    for headers, status in [
        (["Host: evil.example"], b" 421 "), (["Host: 127.0.0.1", "Origin: http://evil.example"], b" 403 "),
        (["Host: localhost"], b" 200 "),
    ]:
        assert status in exchange(broker, request("GET", "/metrics", *headers)).splitlines()[0], headers
    # Health tells nothing that has to be kept, and probes come by any name.
    assert b" 200 " in exchange(broker, request("GET", "/health/live", "Host: evil.example")).splitlines()[0]
    assert b" 421 " in exchange(broker, b"GET /v1/node HTTP/1.0\r\n\r\n").splitlines()[0]
    # A host in the target replaces that of the header.
    for path in ["/v1/node", "/metrics"]:
        for target, host, status in [("evil.example", api.host, b" 421 "), (api.host, "evil.example", b" 200 ")]:
            answer = exchange(broker, request("GET", f"http://{target}:{api.port}{path}", f"Host: {host}"))
            assert status in answer.splitlines()[0], (path, target)
    both = request("GET", "/v1/node", "Host: 127.0.0.1", "Origin: http://127.0.0.1", "Origin: https://evil.example")
    assert b"HTTP/1.1 4" in exchange(broker, both)


def test_what_is_advertised_is_ours_and_elsewhere_any_name_is(tmp_path):
    broker = Broker(setting("MAINSTEM_BIN"), tmp_path)
    broker.options = ["--advertise", "kafka=broker.example:9092"]
    broker.start()
    api = Api(broker)
    assert api.raw("GET", "/v1/node", None, {"Host": "broker.example"}).status == 200
    assert api.raw("GET", "/v1/node", None, {"Host": "other.example"}).code == "foreign_host"
    broker.stop()
    everywhere = Broker(setting("MAINSTEM_BIN"), tmp_path / "everywhere")
    (tmp_path / "everywhere").mkdir()
    everywhere.addresses["http"] = "0.0.0.0:0"
    everywhere.start()
    everywhere.addresses["http"] = everywhere.http.replace("0.0.0.0", "127.0.0.1")
    api = Api(everywhere)
    assert api.raw("GET", "/v1/node", None, {"Host": "broker.lan"}).status == 200
    assert api.raw("GET", "/v1/node", None, {"Origin": "https://evil.example"}).code == "foreign_origin"
    everywhere.stop()


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "\xff"])
def test_what_a_form_can_send_is_no_request(api, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    for method, path in [("POST", "/v1/topics"), ("PATCH", "/v1/topics/t"), ("POST", RECORDS)]:
        answer = api.raw(method, path, b'{"name":"theirs"}', headers)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", " application/json ;x=y"]:
        assert api.raw("PATCH", "/v1/topics/t", b"{}", {"Content-Type": kind}).status == 200


# Malformed requests.

BODIES = {
    "nothing": b"",
    "no JSON": b"name=theirs",
    "cut": b'{"name":"theirs"',
    "another": b'{"name":"theirs"}{"name":"more"}',
    "no object": b'["theirs"]',
    "a list for an object in it": b'{"name":"theirs","configs":[]}',
    "null": b"null",
    "no UTF-8": b'{"name":"\xff"}',
    "half a surrogate": b'{"name":"\\ud800"}',
    "a giant number": b'{"name":"theirs","partitions":1e999}',
    "many digits": b'{"name":"theirs","partitions":' + b"9" * 100_000 + b"}",
    "no number": b'{"name":"theirs","partitions":NaN}',
    "infinity": b'{"name":"theirs","partitions":-Infinity}',
    "a field twice": b'{"name":"theirs","name":"ours"}',
    "a config twice": b'{"name":"theirs","configs":{"retention.ms":1,"retention.ms":2}}',
    "deep": b'{"name":' + b"[" * 200_000,
    "deep in a config": b'{"name":"theirs","configs":{"retention.ms":' + b'{"a":' * 200_000 + b"}}",
    "many configs": json.dumps({"name": "theirs", "configs": {str(n): 1 for n in range(1000)}}).encode(),
    "a byte order mark": b'\xef\xbb\xbf{"name":"theirs"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_not_as_expected_is_refused(api, body):
    answer = api.raw("POST", "/v1/topics", body, JSON)
    assert (answer.status, answer.code) == (400, "invalid_body"), answer
    assert len(answer.body) < 1000


def test_malformed_requests_are_counted_and_said(broker, api):
    before = metric(broker, "mainstem_protocol_rejections_total")
    assert api.raw("POST", "/v1/topics", b"{", JSON).status == 400
    assert api.get("/v1/topics", limit="NaN").status == 400
    assert api.raw("GET", "/v1/topics", None, {"Origin": "https://evil.example"}).status == 403
    assert metric(broker, "mainstem_protocol_rejections_total") == before + 3
    # What is only not there is no fault.
    assert api.get("/v1/topics/missing").status == 404
    assert metric(broker, "mainstem_protocol_rejections_total") == before + 3
    assert "refused what a client sent" in broker.stderr.read_text()


def test_nothing_in_the_log_or_an_answer_is_taken_from_a_request_unescaped(broker, api):
    answer = api.get("/v1/topics", **{"a\r\nSet-Cookie: x\x1b[31m": 1})
    assert answer.status == 400 and "set-cookie" not in answer.headers
    assert "\x1b" not in answer.message and "\r" not in answer.message
    assert "\x1b[31m" not in broker.stderr.read_text()


def test_what_is_repeated_of_a_request_is_bounded(broker, api):
    long = "x" * 50_000
    for field in [{"name": long}, {"name": 1}, {"partitions": long}, {"configs": {"retention.ms": long}}, {long: 1}]:
        answer = api.raw("POST", "/v1/topics", json.dumps({"name": "theirs", **field}).encode(), JSON)
        assert answer.status == 400 and len(answer.body) < 2000, field
    for path in [f"/v1/topics/{long}", f"/v1/topics/%{long}", f"/v1/{long}", f"/v1/node?{long}=1"]:
        answer = api.raw("GET", path)
        assert answer.status in [400, 404] and len(answer.body) < 2000, path[:20]
    for header in ["Host", "Origin", "Sec-Fetch-Site"]:
        answer = api.raw("GET", "/v1/node", None, {header: long})
        assert answer.status in [403, 421] and len(answer.body) < 2000, header
    assert "x" * 1000 not in broker.stderr.read_text()


def test_paths_lead_nowhere_else(broker, api):
    host = f"Host: 127.0.0.1:{api.port}"
    for path in ["/v1/topics/../node", "/v1/../health/live", "/v1/./node", "/v1//node", "/v1/node/", "/v1/topics/t/x"]:
        answer = exchange(broker, request("GET", path, host))
        assert answer.startswith(b"HTTP/1.1 404"), path
    for path in ["/v1/topics/%", "/v1/topics/%zz", "/v1/topics/%ff", "/v1/topics/%c0%ae%c0%ae"]:
        answer = exchange(broker, request("GET", path, host))
        assert answer.startswith(b"HTTP/1.1 400") and b"invalid_parameter" in answer, path
    for name in ["..", "../../etc/passwd", ".", "a/../b", "%2e", "x" * 300, "a\x00b", "*", "t?x", "t#x"]:
        assert api.get(f"/v1/topics/{quote(name)}").code in ["unknown_topic", "invalid_name"], name
        assert api.get(f"/v1/groups/{quote(name)}").code in ["unknown_group", "invalid_name"], name
        assert api.delete(f"/v1/topics/{quote(name)}").status in [400, 404]
    assert api.get("/v1/groups/").code in ["unknown_group", "invalid_name"]
    long = exchange(broker, request("GET", "/v1/topics/" + "x" * 200_000, host))
    assert long.split(b" ")[1] in [b"400", b"414", b"431"]


@pytest.mark.parametrize("method, path", [("GET", "/v1/node"), ("DELETE", "/v1/topics/t")])
def test_a_body_where_there_is_none_is_refused(api, method, path):
    answer = api.raw(method, path, b"{}", JSON)
    assert (answer.status, answer.code) == (400, "invalid_body")


# Too much of everything.


def test_a_body_is_bounded_whatever_it_says_of_its_length(broker, api):
    host = f"Host: 127.0.0.1:{api.port}"
    kind = "Content-Type: application/json"
    for path, most in [("/v1/topics", MIB), (RECORDS, 8 * MIB)]:
        claimed = exchange(broker, request("POST", path, host, kind, f"Content-Length: {most + 1}"))
        assert claimed.startswith(b"HTTP/1.1 413") and b"body_too_large" in claimed
        enormous = exchange(broker, request("POST", path, host, kind, "Content-Length: 9223372036854775807"))
        assert enormous.startswith(b"HTTP/1.1 4")
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with_chunks = request("POST", path, host, kind, "Transfer-Encoding: chunked")
        # One chunk more than fits. The rest of an endless body is never asked for.
        answer = exchange(broker, with_chunks + chunk * (most // 65536 + 1))
        assert answer.startswith(b"HTTP/1.1 413") and b"body_too_large" in answer
    # As large as it may be.
    value = "x" * (900 * 1024)
    api.write("t", *[{"value": value}] * 9)


def test_a_body_that_does_not_come_is_not_waited_for(broker, api):
    host, kind = f"Host: 127.0.0.1:{api.port}", "Content-Type: application/json"
    began = time.monotonic()
    answer = exchange(broker, request("POST", "/v1/topics", host, kind, "Content-Length: 100", body=b'{"name":"th'))
    assert answer.startswith(b"HTTP/1.1 408") and b"body_timeout" in answer
    assert 9 < time.monotonic() - began < 20
    broken = exchange(broker, request("POST", "/v1/topics", host, kind, "Transfer-Encoding: chunked", body=b"zz\r\n"))
    assert broken == b"" or broken.startswith(b"HTTP/1.1 400")
    # By now the connection was idle for too long.
    api.close()
    assert [topic["name"] for topic in api.get("/v1/topics").value["topics"]] == ["t"]


def test_records_that_say_little_many_times_are_bounded(api):
    many = b'{"records":[' + b"{}," * (2 * MIB) + b"{}]}"
    answer = api.raw("POST", RECORDS, many, JSON)
    assert (answer.status, answer.code) == (400, "invalid_body") and "more than 10000" in answer.message
    nested = b'{"records":[{"value":{"json":' + b"[" * 2_000_000 + b"]" * 2_000_000 + b"}}]}"
    answer = api.raw("POST", RECORDS, nested, JSON)
    assert answer.code == "invalid_body" and "nested more than 128" in answer.message


def test_waiting_readers_leave_room_for_others(broker, api):
    """As many as may wait do, more are told to try again, and everything else is answered."""
    path = "/v1/topics/t/partitions/0/records?wait_ms=30000"
    waiting = [http.client.HTTPConnection("127.0.0.1", api.port, timeout=60) for _ in range(WAITS + 8)]
    for connection in waiting:
        connection.request("GET", path)
    refused = [None] * len(waiting)

    def receive(number):
        response = waiting[number].getresponse()
        refused[number] = (response.status, response.headers["retry-after"], json.loads(response.read()))

    threads = [threading.Thread(target=receive, args=(number,)) for number in range(len(waiting))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while sum(answer is not None for answer in refused) < 8:
        assert time.monotonic() < deadline
        assert api.get("/v1/node").status == 200
        time.sleep(0.05)
    for status, retry, value in [answer for answer in refused if answer is not None]:
        assert (status, retry, value["error"]["code"]) == (503, "1", "busy")
    with urllib.request.urlopen(f"http://{broker.http}/health/ready", timeout=5) as answer:
        assert answer.status == 200
    # Those that wait are answered by the first record that comes.
    api.write("t", {"value": "at last"})
    for thread in threads:
        thread.join(20)
    read = [value for status, _, value in refused if status == 200]
    assert len(read) == WAITS
    assert all(page["records"][0]["value"] == "at last" for page in read)


def test_a_reader_that_goes_away_leaves_its_place(broker, api):
    path = "/v1/topics/t/partitions/0/records?wait_ms=30000"
    for _ in range(3):
        gone = [http.client.HTTPConnection("127.0.0.1", api.port, timeout=60) for _ in range(WAITS)]
        for connection in gone:
            connection.request("GET", path)
        time.sleep(0.2)
        for connection in gone:
            connection.close()
    deadline = time.monotonic() + 10
    while api.get("/v1/topics/t/partitions/0/records", wait_ms=1).status == 503:
        assert time.monotonic() < deadline, "the places of those that went away are never free"
        time.sleep(0.05)


def test_waiting_readers_do_not_hold_up_the_end(broker):
    api = Api(broker)
    api.create("t")
    waiting = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
    waiting.request("GET", "/v1/topics/t/partitions/0/records?wait_ms=30000")
    time.sleep(0.3)
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 5
    response = waiting.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (503, "unavailable")
    broker.start()


def test_answers_that_nobody_takes_are_bounded(new_broker):
    """Readers that ask for much and take nothing keep others from much, for a time, but from nothing else."""
    broker = new_broker
    broker.options = ["--limits-memory", "64MiB"]
    broker.start()
    api = Api(broker)
    api.create("large", **{"max.message.bytes": 8_000_000})
    for _ in range(4):
        api.write("large", {"value": "x" * 6_000_000}, acks="1")
    path = "/v1/topics/large/partitions/0/records?max_bytes=16777216"
    sockets = []
    before = resident_bytes(broker)
    for _ in range(30):
        connection = socket.create_connection(("127.0.0.1", api.port), 20)
        connection.sendall(request("GET", path, f"Host: 127.0.0.1:{api.port}"))
        sockets.append(connection)
    for _ in range(20):
        assert api.get("/v1/node").status == 200
        time.sleep(0.1)
    assert resident_bytes(broker) - before < 200 * MIB
    for connection in sockets:
        connection.close()
    deadline = time.monotonic() + 20
    while api.get("/v1/topics/large/partitions/0/records", max_bytes=16 * MIB).status != 200:
        assert time.monotonic() < deadline, "what was never taken is never given back"


def resident_bytes(broker) -> int:
    with open(f"/proc/{broker.pid}/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
