"""A cluster whose nodes share a secret and show certificates: it forms, works, and lets nobody in who lacks either."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.python

SECRET = "MAINSTEM_CLUSTER_SECRET_FILE"
CERTIFICATE = "MAINSTEM_CLUSTER_CERTIFICATE_FILE"
KEY = "MAINSTEM_CLUSTER_KEY_FILE"
AUTHORITY = "MAINSTEM_CLUSTER_AUTHORITY_FILE"


@dataclass
class Authority:
    """Somebody who signs certificates, in a folder of its own."""

    folder: Path

    def __post_init__(self):
        self.folder.mkdir()
        openssl("req", "-x509", *self.new_key("authority"), "-out", self.certificate, "-days", "30")

    @property
    def certificate(self) -> Path:
        return self.folder / "authority.pem"

    def new_key(self, name: str) -> list:
        key = self.folder / f"{name}.key"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        return [*kind, "-keyout", key, "-subj", f"/CN={name}"]

    def node(self) -> dict[str, str]:
        """What a node is told that shows a certificate of this authority and trusts those it has signed."""
        request, certificate, names = (self.folder / name for name in ["node.csr", "node.pem", "names"])
        names.write_text("subjectAltName=DNS:mainstem-node\n")
        openssl("req", *self.new_key("node"), "-out", request)
        signer = ["-CA", self.certificate, "-CAkey", self.folder / "authority.key", "-CAcreateserial"]
        openssl("x509", "-req", "-in", request, *signer, "-extfile", names, "-days", "30", "-out", certificate)
        files = {CERTIFICATE: certificate, KEY: self.folder / "node.key", AUTHORITY: self.certificate}
        return {name: str(path) for name, path in files.items()}


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def secret(folder: Path, content: str) -> dict[str, str]:
    path = folder / content.split()[0]
    path.write_text(content)
    return {SECRET: str(path)}


def test_nobody_gets_in_without_the_secret_and_a_certificate(cluster, new_load, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes certificates, is not there")
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    right, wrong = secret(tmp_path, "the secret of this cluster\n"), secret(tmp_path, "another secret altogether\n")
    certificates, foreign = ours.node(), others.node()

    def new_node(number: int, environment: dict[str, str], name: str | None = None):
        seed = cluster.running()[0].peer if cluster.nodes else None
        node = cluster.new_node(number, seed, name)
        node.environment = environment
        return node

    for number in [1, 2, 3]:
        cluster.start(new_node(number, right | certificates))
    cluster.wait_settled()
    load = new_load()
    load.wait_for_more()
    secretless = "only one of the two nodes has a secret of the cluster"
    for name, environment, sentence in [
        ("without a secret", certificates, secretless),
        ("with another secret", wrong | certificates, "secrets? of the cluster"),
        ("without a certificate", right, "it speaks TLS, and this node has no certificate"),
        (
            "of others",
            right | foreign,
            "its certificate is not accepted: no authority that is trusted here has signed it",
        ),
        (
            "signed by others",
            right | foreign | {AUTHORITY: certificates[AUTHORITY]},
            "it does not accept this node's certificate: no authority that is trusted there has signed it",
        ),
    ]:
        stranger = new_node(9, environment, name)
        why = stranger.refused()
        assert f"cannot join at {cluster.nodes[1].peer}" in why and re.search(sentence, why), (name, why)
    assert "a connection was not let in" in cluster.nodes[1].stderr.read_text()
    load.wait_for_more()
    for node in cluster.nodes.values():
        assert [member["node"] for member in node.ask("/v1/nodes")["nodes"]] == [1, 2, 3]
    # Members still find each other: one comes back, without which there would be no majority then.
    cluster.nodes[2].restart()
    cluster.wait_settled()
    cluster.nodes[3].kill9()
    load.wait_for_more()
    cluster.nodes[3].start()
    cluster.wait_settled()
    load.finish()
