"""A whole deployment: homes first, then the edge, the bucket's policy, the API; a second run changes nothing.

Nothing is remembered between runs but what stands in AWS, so any machine goes on, after any interruption: a stack on
which something is under way is waited for, and one that is whole has no change.
"""

from __future__ import annotations

import base64
import dataclasses
import secrets
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from oncegate.aws.deploying.api import ApiStack, empty_bucket
from oncegate.aws.deploying.bundle import Bundle
from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.plans import Plan
from oncegate.aws.deploying.stacks import Stacks
from oncegate.aws.deploying.staging import Staging
from oncegate.aws.deploying.standing import standing_options
from oncegate.aws.stacks.api import signing_spec
from oncegate.aws.stacks.edge import CLAIM_KEY, edge_template, key_output
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options import EDGE_REGION, DeploymentUnfit, Home, Options
from oncegate.aws.stacks.rotation import key_output as arn_output
from oncegate.aws.stacks.template import Json

_KEY_TO_COME = "the public half of the signing key, which the home's stack makes"


class NotesBirth(Protocol):
    """Writes into a new ledger when it was created, and nothing into one that says so."""

    def __call__(self, table: str, region: str) -> None:
        """Note it."""
        ...


@dataclass(frozen=True, slots=True)
class Plans:
    """What a run would do, stack by stack.

    Attributes:
        homes: of each home, the first first.
        edge: of the edge.
        sets_bucket_policy: whether the first home's stack is applied once more, for the distribution to be let in.
        api: of the control API; None: none is wanted.
        removes_api: whether one stands that is wanted no more.
    """

    homes: Sequence[Plan]
    edge: Plan
    sets_bucket_policy: bool
    api: Plan | None
    removes_api: bool

    @property
    def stacks(self) -> Sequence[Plan]:
        """The plan of each stack, in the order in which they are applied."""
        return (*self.homes, self.edge, *((self.api,) if self.api else ()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.sets_bucket_policy and not self.removes_api and not any(each.changes for each in self.stacks)


@dataclass(frozen=True, slots=True)
class Deployed:
    """What stands.

    Attributes:
        domain: of the distribution, or one's own.
        signing: as ``[keys] signing`` has it; empty: keys that were made elsewhere.
        keys: PEM text of each public key by CloudFront's id.
        homes: stacks' outputs by name of the home.
        edge: the edge stack's outputs.
        api: the API stack's outputs; empty: there is none.
    """

    domain: str
    signing: str
    keys: Mapping[str, str]
    homes: Mapping[str, Mapping[str, str]]
    edge: Mapping[str, str]
    api: Mapping[str, str]


class Deployer:
    """Plans and applies.

    Args:
        cloud: by which AWS is asked.
        options: what the deployment is to be.
        code: of the edge function, as it was joined.
        note_birth: writes when a ledger was created.
        say: is told of each step, in words.
        bundle: code of the API's function; None: the one that stands.
        is_rotating: whether ``options`` take the rotation a step further; else the one that stands is kept.
    """

    def __init__(
        self,
        cloud: Cloud,
        options: Options,
        *,
        code: str,
        note_birth: NotesBirth,
        say: Callable[[str], None],
        bundle: Bundle | None = None,
        is_rotating: bool = False,
    ) -> None:
        if not options.makes_distribution:
            raise DeploymentUnfit(
                "a distribution that stands is not changed by 'oncegate aws deploy'",
                remedy="apply what 'oncegate aws template --own-distribution' prints, and use its outputs",
                where="--own-distribution",
            )
        self._cloud = cloud
        self._options = options
        self._is_rotating = is_rotating
        self._code = code
        self._note_birth = note_birth
        self._say = say
        self._staging = Staging(cloud, options.bucket, options.first.region)
        self._stacks = Stacks(cloud, options.name, stage=self._staging.lay)
        self._api = ApiStack(cloud, self._stacks, bundle)

    def plan(self) -> Plans:
        """Say what a run would do; change sets are the only thing that is made, and they do nothing."""
        try:
            edge = self._stacks.find(self._options.edge_stack, EDGE_REGION)
            if edge is not None and edge.is_made:
                self._go_on_with_rotation()
            arn = edge.outputs.get("DistributionArn", "") if edge else ""
            homes = [self._plan_home(home, arn) for home in self._options.homes]
            outputs = self._outputs_of(homes[0])
            pems = self._pems(outputs)
            edge_plan = self._planned_edge(edge_template(self._options, self._code, signing_keys=pems))
            api = self._plan_api(outputs, edge.outputs if edge else {}, pems) if self._options.api else None
            return Plans(homes, edge_plan, self._options.makes_bucket and not arn, api, self._has_unwanted_api())
        finally:
            self._staging.clear()

    def discard(self, plans: Plans) -> None:
        """Let go of plans that are not carried out."""
        for plan in plans.stacks:
            self._stacks.discard(plan)

    def apply(self, plans: Plans) -> Deployed:
        """Carry out plans.

        Raises:
            DeploymentUnfit: a step failed; what was done before it stands, and a further run goes on from there.
        """
        try:
            return self._apply(plans)
        finally:
            self._staging.clear()

    def _apply(self, plans: Plans) -> Deployed:
        options = self._options
        homes: dict[str, Mapping[str, str]] = {}
        if plans.removes_api:
            self._remove_api()
        for home, plan in zip(options.homes, plans.homes, strict=True):
            homes[home.name] = self._applied(plan)
        signing, keys_of_kms = self._trusted(homes[options.first.name])
        pems = (*keys_of_kms, *options.public_keys)
        template = edge_template(options, self._code, signing_keys=keys_of_kms)
        plan = plans.edge
        if plan.template != template:
            self._stacks.discard(plan)
            plan = self._planned_edge(template)
        edge = self._applied(plan)
        if plans.sets_bucket_policy:
            self._applied(self._plan_home(options.first, edge["DistributionArn"]))
            self._say("bucket policy set: the distribution alone may read and create")
        for home in options.homes:
            self._note_birth(options.name, home.region)
        keys = {edge[key_output(pem)]: pem for pem in pems}
        api = self._apply_api(plans.api, homes[options.first.name], edge, keys_of_kms)
        return Deployed(options.domain or edge["Domain"], signing, keys, homes, edge, api)

    def _plan_api(self, home: Mapping[str, str], edge: Mapping[str, str], pems: Sequence[str]) -> Plan:
        return self._api.plan(self._options, home=home, edge=edge, pems=(*pems, *self._options.public_keys))

    def _apply_api(
        self, plan: Plan | None, home: Mapping[str, str], edge: Mapping[str, str], pems: Sequence[str]
    ) -> Mapping[str, str]:
        if plan is None:
            return {}
        again = self._plan_api(home, edge, pems)
        self._stacks.discard(plan)
        outputs = self._api.apply(self._options, again)
        if again.changes:
            self._say(f"{again.stack} in {again.region}: {'made' if again.is_new else 'changed'}")
        return outputs

    def _has_unwanted_api(self) -> bool:
        if self._options.api is not None:
            return False
        return self._stacks.find(self._options.api_stack, self._options.first.region) is not None

    def _remove_api(self) -> None:
        """Take it away before the home lets go of its code's bucket, which must be empty by then."""
        options = self._options
        self._stacks.delete(options.api_stack, options.first.region)
        home = self._stacks.find(options.home_stack(options.first), options.first.region)
        if home is not None and (bucket := home.outputs.get("CodeBucket")):
            empty_bucket(self._cloud, bucket, options.first.region)
        self._say(f"{options.api_stack} in {options.first.region}: deleted")

    def _plan_home(self, home: Home, arn: str) -> Plan:
        stack = self._options.home_stack(home)
        template = home_template(self._options, home, distribution_arn=arn)
        plan = self._stacks.plan(stack, home.region, template)
        if plan.is_new and self._stacks.find(stack, home.region) is None:
            self._refuse_taken_names(home)
        return plan

    def _outputs_of(self, home: Plan) -> Mapping[str, str]:
        stands = None if home.is_new else self._stacks.find(home.stack, home.region)
        return stands.outputs if stands else {}

    def _pems(self, outputs: Mapping[str, str]) -> Sequence[str]:
        """Public halves of the keys in KMS that are trusted; of one that is to come, words in its place."""
        return [
            self._public_half(outputs[name]) if (name := arn_output(each)) in outputs else f"{_KEY_TO_COME} {each}"
            for each in self._generations()
        ]

    def _generations(self) -> Sequence[int]:
        return self._options.rotation.generations if self._options.signing == "kms" else ()

    def _go_on_with_rotation(self) -> None:
        """Keep the keys that a rotation has made, whatever the options of this run say of keys."""
        standing = standing_options(self._cloud, self._options.edge_stack)
        if standing is not None and not self._is_rotating:
            self._options = dataclasses.replace(self._options, rotation=standing.rotation)

    def _planned_edge(self, template: Mapping[str, Json]) -> Plan:
        parameters = {CLAIM_KEY: secrets.token_urlsafe(32)}
        return self._stacks.plan(self._options.edge_stack, EDGE_REGION, template, parameters)

    def _applied(self, plan: Plan) -> Mapping[str, str]:
        outputs = self._stacks.apply(plan)
        if plan.changes:
            self._say(f"{plan.stack} in {plan.region}: {'made' if plan.is_new else 'changed'}")
        return outputs

    def _trusted(self, outputs: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        """What signs, and the public halves of all keys in KMS that are trusted."""
        pems = tuple(self._public_half(outputs[arn_output(each)]) for each in self._generations())
        return signing_spec(self._options, outputs), pems

    def _public_half(self, arn: str) -> str:
        der = self._cloud.call("kms", "get_public_key", self._options.first.region, KeyId=arn)["PublicKey"]
        lines = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"

    def _refuse_taken_names(self, home: Home) -> None:
        """Look before a stack is made: one that fails halfway leaves what it retains.

        Raises:
            DeploymentUnfit: a table or a bucket of that name stands.
        """
        options = self._options
        if self._stands("dynamodb", "describe_table", home, TableName=options.name):
            raise DeploymentUnfit(
                f"a table {options.name} stands in {home.region} and is no stack's",
                remedy="take another name, or delete the table: links that it counted are then unknown",
                where="NAME",
            )
        if home == options.first and self._stands("s3", "head_bucket", home, Bucket=options.bucket):
            if options.makes_bucket:
                raise DeploymentUnfit(
                    f"the bucket {options.bucket} stands",
                    remedy="take another name, or bring it with --own-bucket",
                    where="--bucket",
                )
        elif home == options.first and not options.makes_bucket:
            raise DeploymentUnfit(f"there is no bucket {options.bucket}", where="--own-bucket")

    def _stands(self, service: str, operation: str, home: Home, **arguments: str) -> bool:
        try:
            self._cloud.call(service, operation, home.region, **arguments)
        except SaidNo as no:
            if no.code in ("ResourceNotFoundException", "404", "NoSuchBucket", "NotFound"):
                return False
            raise DeploymentUnfit(f"{service}: {no.message or no.code}", where="--bucket") from None
        return True
