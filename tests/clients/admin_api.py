"""The admin API as a client sees it. Every answer is held against the OpenAPI document on the way."""

import http.client
import json
import urllib.parse
from dataclasses import dataclass, field

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

JSON = {"Content-Type": "application/json"}
TIMEOUT = 60


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    value: object = field(default=None)

    @property
    def code(self) -> str | None:
        """The code of the error, if it is one."""
        return self.value["error"]["code"] if self.status >= 400 else None

    @property
    def message(self) -> str:
        return self.value["error"]["message"]


def quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")


class Api:
    """One connection to the API."""

    def __init__(self, broker):
        self.host, port = broker.http.rsplit(":", 1)
        self.port = int(port)
        self.connection = None
        self.document = None
        self.document = self.get("/v1/openapi.json").value
        schema = Resource(contents=self.document, specification=DRAFT202012)
        self.registry = Registry().with_resource("urn:document", schema)
        # Method and template of each operation that was answered.
        self.seen = set()

    def raw(self, method: str, target: str, body: bytes | None = None, headers: dict | None = None) -> Answer:
        """As it is, on a connection of its own if need be."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        try:
            self.connection.request(method, target, body=body, headers=headers or {})
            response = self.connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
        if response.will_close:
            self.close()
        if content:
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
            answer.value = json.loads(content)
        if self.document is not None and method != "HEAD":
            self._check(method, target.split("?")[0], answer)
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, path: str, **query) -> Answer:
        return self.raw("GET", path + parameters(query))

    def delete(self, path: str, **query) -> Answer:
        return self.raw("DELETE", path + parameters(query))

    def post(self, path: str, value) -> Answer:
        return self.raw("POST", path, json.dumps(value).encode(), JSON)

    def patch(self, path: str, value) -> Answer:
        return self.raw("PATCH", path, json.dumps(value).encode(), JSON)

    # What most tests do.

    def create(self, name: str, partitions: int = 1, **configs) -> Answer:
        answer = self.post("/v1/topics", {"name": name, "partitions": partitions, "configs": configs})
        assert answer.status == 201, answer
        return answer

    def write(self, topic: str, *records: dict, **more) -> list:
        """Partition and offset of each."""
        answer = self.post(f"/v1/topics/{quote(topic)}/records", {"records": list(records), **more})
        assert answer.status == 200 and answer.value["failed"] == 0, answer
        return [(record["partition"], record["offset"]) for record in answer.value["records"]]

    def read(self, topic: str, partition: int = 0, **query) -> dict:
        answer = self.get(f"/v1/topics/{quote(topic)}/partitions/{partition}/records", **query)
        assert answer.status == 200, answer
        return answer.value

    def _check(self, method: str, path: str, answer: Answer):
        """An answer is one that the document has, in status, error code and shape."""
        found = self.operation(method, path)
        if found is None:
            assert answer.status >= 400, f"{method} {path} is not in the document"
            self.validate(answer.value, "#/components/schemas/ErrorBody")
            return
        template, operation = found
        self.seen.add((method, template))
        response = operation["responses"].get(str(answer.status))
        assert response is not None, f"{method} {template} answers {answer.status}: {answer.body[:300]}"
        if "content" not in response:
            assert answer.body == b""
            return
        self.validate(answer.value, response["content"]["application/json"]["schema"])
        if answer.status >= 400:
            assert f"{answer.code}: " in response["description"], f"{method} {template}: {answer.code}"
            assert len(answer.message) > 10

    def validate(self, value, schema):
        if isinstance(schema, str):
            schema = {"$ref": schema}
        here = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
        Draft202012Validator(here, registry=self.registry).validate(value)

    def operation(self, method: str, path: str):
        """The template and the operation of a request, if there is one."""
        wanted = path.split("/")
        for template, operations in self.document["paths"].items():
            parts = template.split("/")
            fits = len(parts) == len(wanted) and all(p.startswith("{") or p == w for p, w in zip(parts, wanted))
            if fits and method.lower() in operations:
                return template, operations[method.lower()]
        return None


def parameters(query: dict) -> str:
    return "?" + urllib.parse.urlencode(query) if query else ""
