"""What a deployment is to be: checked once, here, so that every template of it can be written without a question.

Options decide what is written, and a template holds no condition that its reader would have to evaluate.

Source: AWS service quotas and naming rules as of 2026-11; Amazon S3 User Guide, "General purpose bucket naming rules".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from oncegate.aws.stacks.rotation import Rotation
from oncegate.unfit import Unfit

EDGE_REGION = "us-east-1"
"""CloudFront takes functions and certificates from this Region alone."""

KEYS_MAX = 5
"""Public keys in one key group of CloudFront."""
HOMES_MAX = 10
"""Our choice: each home is a stack of its own, and a Region that the edge may have to reach."""
UPLOAD_PREFIXES_MAX = 20
"""Each is a behaviour; CloudFront takes 25 in a distribution."""

Signing = Literal["kms", "own"]
Authorizer = Literal["iam", "jwt"]

_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9])){1,29}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]")
_HOME = re.compile(r"[a-z0-9]{0,12}")
_PREFIX = re.compile(r"(?:[A-Za-z0-9!_.'()-]+/)+")
_FOLDER = re.compile(r"(?:/[A-Za-z0-9!_.'()-]+)*")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\*")
_ARN = re.compile(r"arn:aws:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:\S+")
_KEY_OF_A_SERVICE = re.compile(r"(kms|secretsmanager|ssm):arn:aws:\1:[a-z0-9-]+:[0-9]{12}:\S+")
_ISSUER = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?|http://127\.0\.0\.1:[0-9]{1,5}")
"""An issuer on loopback is an emulator's; AWS refuses it."""
_OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")


class DeploymentUnfit(Unfit):
    """A deployment cannot be made as asked for; nothing was changed by what raised it."""


@dataclass(frozen=True, slots=True)
class Home:
    """A Region with a table of its own.

    Attributes:
        region: of the table; of the first home also the bucket's and the signing key's.
        name: as tickets name it; empty: tickets that name no home.
    """

    region: str
    name: str = ""

    def __post_init__(self) -> None:
        if self.region.startswith(_OTHER_PARTITIONS):
            raise DeploymentUnfit(
                f"{self.region} lies in a partition of its own, where CloudFront has no edge functions",
                remedy="name a Region of the partition aws",
                where="--home",
            )
        if not _REGION.fullmatch(self.region):
            raise DeploymentUnfit(f"{self.region!r} is no Region", remedy="such as eu-central-1", where="--home")
        if not _HOME.fullmatch(self.name):
            raise DeploymentUnfit(f"{self.name!r} is no name of a home", remedy="1 to 12 of a-z 0-9", where="--home")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The control API of a deployment.

    Attributes:
        authorizer: of every route.
        issuer: of JWTs, as their claim ``iss`` has it.
        audience: of JWTs; one of these stands in ``aud`` or ``client_id``.
        cors_origins: sites whose pages may call it.
    """

    authorizer: Authorizer = "iam"
    issuer: str = ""
    audience: Sequence[str] = ()
    cors_origins: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.authorizer not in ("iam", "jwt"):
            _refuse("the authorizer", self.authorizer, "iam, or jwt:ISSUER,AUDIENCE", "--api")
        if self.authorizer == "jwt" and not _ISSUER.fullmatch(self.issuer):
            _refuse("the issuer", self.issuer, "such as https://id.example.com/", "--api")
        if (self.authorizer == "jwt") != bool(self.audience) or not all(
            each.isprintable() and each and not re.search(r"\s", each) for each in self.audience
        ):
            raise DeploymentUnfit(
                "a JWT is for an audience, and IAM knows none", remedy="jwt:ISSUER,AUDIENCE", where="--api"
            )
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                _refuse("the origin", origin, "such as https://app.example.com", "--api-cors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One deployment.

    Attributes:
        name: of stacks, table, function and policies.
        homes: the first holds the bucket and the signing key.
        bucket: where the objects are, in the first home's Region.
        makes_bucket: whether the stack makes it; False: it stands, and its policy is its owner's.
        is_versioned: whether the bucket that is made keeps versions.
        folder: of the bucket, with a slash in front and none at the end; empty: the whole bucket.
        uploads: beginnings of keys, each ending in a slash, under which upload links may create objects.
        signing: ``kms``: a P-256 key in the first home signs; ``own``: keys that were made elsewhere.
        signing_key: with ``own``, where the API and the configuration find the private half: ``kms:``,
            ``secretsmanager:`` or ``ssm:`` and an ARN; empty: nothing of the deployment signs.
        public_keys: PEM texts that the distribution trusts.
        makes_distribution: False: the stack's outputs are for a distribution that stands.
        domain: of one's own; empty: CloudFront's.
        certificate: ARN in us-east-1, for ``domain``.
        zone: id of a hosted zone in which the record of ``domain`` is made.
        cors_origins: sites whose pages may read answers.
        alarm_topic: ARN of an SNS topic in us-east-1 that alarms are sent to; empty: no alarms.
        confirm: when a person is asked before a use is spent.
        plain_links: links without a ticket: ``refuse`` or ``allow``.
        rotation: which keys of KMS are trusted, and which one signs.
        api: the control API beside the first home; None: none.
    """

    name: str
    homes: Sequence[Home]
    bucket: str
    makes_bucket: bool = True
    is_versioned: bool = False
    folder: str = ""
    uploads: Sequence[str] = ("inbox/",)
    signing: Signing = "kms"
    signing_key: str = ""
    public_keys: Sequence[str] = ()
    makes_distribution: bool = True
    domain: str = ""
    certificate: str = ""
    zone: str = ""
    cors_origins: Sequence[str] = ()
    alarm_topic: str = ""
    confirm: str = "auto"
    plain_links: str = "refuse"
    rotation: Rotation = field(default_factory=Rotation)
    api: Api | None = None

    def __post_init__(self) -> None:
        self._check_names()
        self._check_signing()
        self._check_homes()
        self._check_domain()
        self._check_words()

    @property
    def first(self) -> Home:
        """The home of the bucket and the signing key."""
        return self.homes[0]

    @property
    def origin_domain(self) -> str:
        """The bucket by its regional name: the global one redirects for hours after a bucket was made."""
        return f"{self.bucket}.s3.{self.first.region}.amazonaws.com"

    def home_stack(self, home: Home) -> str:
        """Name of the stack of a home."""
        return f"{self.name}-home-{home.name}" if home.name else f"{self.name}-home"

    @property
    def edge_stack(self) -> str:
        """Name of the stack in us-east-1."""
        return f"{self.name}-edge"

    @property
    def api_stack(self) -> str:
        """Name of the stack of the control API, in the first home's Region."""
        return f"{self.name}-api"

    def _check_signing(self) -> None:
        if self.signing == "kms" and self.signing_key:
            raise DeploymentUnfit("a key in KMS is made, so none is named", where="--signing-key")
        if self.signing_key and not _KEY_OF_A_SERVICE.fullmatch(self.signing_key):
            _refuse("the signing key", self.signing_key, "such as secretsmanager:arn:aws:...", "--signing-key")
        if self.api and self.signing == "own" and not self.signing_key:
            raise DeploymentUnfit(
                "the API signs, and no key is named that it could use",
                remedy="name one with --signing-key, or leave the API out: --api none",
                where="--api",
            )

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.name):
            _refuse("the name", self.name, "2 to 30 of a-z 0-9 and -, beginning with a letter", "NAME")
        # no dot: the certificate of *.s3.<region>.amazonaws.com covers one label
        if not _BUCKET.fullmatch(self.bucket):
            _refuse("the bucket", self.bucket, "3 to 63 of a-z 0-9 and -, without a dot", "--bucket")
        if not _FOLDER.fullmatch(self.folder) or ".." in self.folder:
            _refuse("the folder", self.folder, "such as /public, without a slash at the end", "--folder")
        for prefix in self.uploads:
            if not _PREFIX.fullmatch(prefix) or prefix.startswith("."):
                _refuse("the prefix", prefix, "such as inbox/, with a slash at the end", "--uploads")
        if len(self.uploads) > UPLOAD_PREFIXES_MAX or len(set(self.uploads)) != len(self.uploads):
            raise DeploymentUnfit(f"at most {UPLOAD_PREFIXES_MAX} prefixes, each once", where="--uploads")

    def _check_homes(self) -> None:
        names, regions = [home.name for home in self.homes], [home.region for home in self.homes]
        if not 1 <= len(names) <= HOMES_MAX:
            raise DeploymentUnfit(f"1 to {HOMES_MAX} homes, not {len(names)}", where="--home")
        if len(set(names)) != len(names) or len(set(regions)) != len(regions):
            raise DeploymentUnfit("each home has a name and a Region of its own", where="--home")
        if len(self.public_keys) > KEYS_MAX or len(set(self.public_keys)) != len(self.public_keys):
            raise DeploymentUnfit(f"a key group holds at most {KEYS_MAX} keys, each once", where="--public-key")

    def _check_domain(self) -> None:
        if self.domain and not _DOMAIN.fullmatch(self.domain):
            _refuse("the domain", self.domain, "such as links.example.com", "--domain")
        if bool(self.domain) != bool(self.certificate):
            raise DeploymentUnfit("a domain needs a certificate for it, and none is of use alone", where="--domain")
        if self.certificate and not self.certificate.startswith(f"arn:aws:acm:{EDGE_REGION}:"):
            _refuse("the certificate", self.certificate, f"CloudFront takes those of {EDGE_REGION}", "--certificate")
        if self.zone and not self.domain:
            raise DeploymentUnfit("a hosted zone is for the record of a domain", where="--zone")
        if not self.makes_distribution and (self.domain or self.zone or self.alarm_topic):
            raise DeploymentUnfit("domain, zone and alarms are the own distribution's", where="--own-distribution")
        if self.alarm_topic and not _ARN.fullmatch(self.alarm_topic):
            _refuse("the topic", self.alarm_topic, "an ARN of SNS in us-east-1", "--alarms")

    def _check_words(self) -> None:
        if self.confirm not in ("auto", "always", "never"):
            _refuse("confirm", self.confirm, "auto, always or never", "--confirm")
        if self.plain_links == "once":
            raise DeploymentUnfit(
                "plain links cannot be counted at the edge: their id needs the key's digest",
                remedy="refuse or allow them",
                where="--plain-links",
            )
        if self.plain_links not in ("refuse", "allow"):
            _refuse("plain_links", self.plain_links, "refuse or allow", "--plain-links")
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin):
                _refuse("the origin", origin, "such as https://app.example.com", "--cors-origin")


def _refuse(what: str, value: str, remedy: str, where: str) -> None:
    raise DeploymentUnfit(f"{what} {value!r} cannot be used", remedy=remedy, where=where)
