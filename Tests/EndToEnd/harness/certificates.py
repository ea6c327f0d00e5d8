"""Certificates made with openssl when a test needs them: none of them is worth keeping secret or keeping at all."""

import dataclasses
import datetime
import pathlib
import subprocess

CA_CONFIGURATION = """
[ca]
default_ca = it
[it]
dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
"""


@dataclasses.dataclass
class ServerCertificate:
    """Files of a server certificate."""

    certificate: pathlib.Path
    key: pathlib.Path


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments}: {done.stderr}"


def _new_key(path, algorithm):
    if algorithm.startswith("rsa"):
        options = ["RSA", "-pkeyopt", f"rsa_keygen_bits:{algorithm[3:] or 2048}"]
    else:
        options = ["EC", "-pkeyopt", f"ec_paramgen_curve:P-{algorithm[1:]}"]
    _openssl("genpkey", "-algorithm", *options, "-out", path)


class Authority:
    """A certificate authority of its own."""

    def __init__(self, folder, name="Test CA", algorithm="p256", parent=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.certificate = self.folder / "ca.pem"
        self.name = name
        self._count = 0
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca.conf").write_text(CA_CONFIGURATION.format(folder=self.folder))
        _new_key(self.folder / "ca.key", algorithm)
        if parent is None:
            _openssl("req", "-x509", "-new", "-key", self.folder / "ca.key", "-sha256", "-days", 30,
                     "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                     "-out", self.certificate)
        else:
            _openssl("req", "-new", "-key", self.folder / "ca.key", "-subj", f"/CN={name}",
                     "-out", self.folder / "ca.csr")
            parent.sign(self.folder / "ca.csr", self.certificate,
                        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")

    def sign(self, request, certificate, extensions, days_from=-1, days_to=30):
        """Signs a request; validity in days from now."""
        now = datetime.datetime.utcnow()
        dates = [(now + datetime.timedelta(days=days)).strftime("%y%m%d%H%M%SZ") for days in (days_from, days_to)]
        extension_file = certificate.with_suffix(".ext")
        extension_file.write_text(extensions)
        _openssl("ca", "-batch", "-notext", "-config", self.folder / "ca.conf", "-in", request, "-out", certificate,
                 "-startdate", dates[0], "-enddate", dates[1], "-extfile", extension_file)

    def issue(self, names="DNS:localhost,IP:127.0.0.1", *, days_from=-1, days_to=30, algorithm="p256", chain=(),
              usage="serverAuth"):
        """A server certificate for subject alternative names; `chain` are authorities to be sent behind it."""
        self._count += 1
        stem = self.folder / f"server{self._count}"
        key, request, certificate = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem"))
        _new_key(key, algorithm)
        _openssl("req", "-new", "-key", key, "-subj", "/CN=test server", "-out", request)
        self.sign(request, certificate,
                  f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n",
                  days_from, days_to)
        for authority in chain:
            certificate.write_text(certificate.read_text() + authority.certificate.read_text())
        return ServerCertificate(certificate, key)
