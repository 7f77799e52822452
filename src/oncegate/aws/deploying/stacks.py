"""Stacks of CloudFormation: found, planned by change sets, applied, waited for. A stack that is not ours is left alone.

Source: AWS CloudFormation User Guide, "Stack status codes", "Update stacks using change sets".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.plans import Change, Plan, changes_of
from oncegate.aws.stacks.options import DeploymentUnfit
from oncegate.aws.stacks.template import TEMPLATE_BODY_MAX_BYTES, Json, text_of

TAG = "oncegate"
"""Whose value is the deployment's name; a stack without it is somebody else's."""
FORMAT_TAG = "oncegate-format"
FORMAT = 1
"""Of what stands; a higher one was made by a newer version."""
LOOK_EVERY_S = 0.5
LOOK_EVERY_MAX_S = 10.0
WAIT_MAX_S = 3_600.0
_GONE = ("DELETE_COMPLETE",)


@dataclass(frozen=True, slots=True)
class Found:
    """A stack that stands."""

    status: str
    outputs: Mapping[str, str]

    @property
    def is_made(self) -> bool:
        """Whether it holds resources; one that was only reviewed, or whose making failed, does not."""
        return self.status not in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED")


Stage = Callable[[str], str]
"""Lays a long template somewhere, and returns its URL."""


class Stacks:
    """The stacks of one deployment.

    Args:
        cloud: by which AWS is asked.
        deployment: its name.
        stage: for templates that are too long to be sent.
        sleep: waits; seconds.
    """

    def __init__(
        self, cloud: Cloud, deployment: str, *, stage: Stage, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._cloud = cloud
        self._deployment = deployment
        self._stage = stage
        self._sleep = sleep

    def find(self, stack: str, region: str) -> Found | None:
        """Find a stack; one on which something is under way is waited for.

        Raises:
            DeploymentUnfit: it is not ours, or of a newer version, or cannot be helped.
        """
        described = self._settled(stack, region)
        if described is None:
            return None
        tags = {each["Key"]: each["Value"] for each in described.get("Tags", ())}
        if tags.get(TAG) != self._deployment:
            raise DeploymentUnfit(
                f"the stack {stack} in {region} is not ours", remedy="take another name", where="NAME"
            )
        if int(tags.get(FORMAT_TAG, "0")) > FORMAT:
            raise DeploymentUnfit(f"the stack {stack} was made by a newer version", remedy="update oncegate")
        status = str(described["StackStatus"])
        if status in ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"):
            raise DeploymentUnfit(
                f"the stack {stack} in {region} is {status}: {described.get('StackStatusReason', '')}",
                remedy="let CloudFormation continue its rollback, or delete the stack (what holds data is retained)",
            )
        outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", ())}
        return Found(status, outputs)

    def plan(
        self,
        stack: str,
        region: str,
        template: Mapping[str, Json],
        drawn: Mapping[str, str] | None = None,
        given: Mapping[str, str | None] | None = None,
    ) -> Plan:
        """Say what applying a template would do, by a change set where the stack stands. Changes nothing.

        Args:
            stack: its name.
            region: where it is.
            template: what would be applied.
            drawn: parameters of a new stack; one that stands keeps those that it has.
            given: parameters of both; None: what a stack that stands has.
        """
        given = given or {}
        found = self.find(stack, region)
        if found is None or not found.is_made:
            resources: Any = template["Resources"]
            changes = [Change("+", name, each["Type"]) for name, each in resources.items()]
            first = {**(drawn or {}), **given}
            return Plan(stack=stack, region=region, template=template, changes=changes, is_new=True, parameters=first)
        kept: Mapping[str, str | None] = {**dict.fromkeys(drawn or {}, None), **given}
        change_set, changes = self._change_set(stack, region, template, kept, kind="UPDATE")
        return Plan(
            stack=stack,
            region=region,
            template=template,
            changes=changes,
            is_new=False,
            change_set=change_set,
            parameters=kept,
        )

    def discard(self, plan: Plan) -> None:
        """Let go of a plan that is not carried out."""
        if plan.change_set:
            self._cloud.call("cloudformation", "delete_change_set", plan.region, ChangeSetName=plan.change_set)

    def apply(self, plan: Plan) -> Mapping[str, str]:
        """Carry out a plan, wait until the stack stands, and return its outputs.

        Raises:
            DeploymentUnfit: CloudFormation could not; the message has the first reason it gave.
        """
        change_set = plan.change_set
        if plan.is_new:
            found = self.find(plan.stack, plan.region)
            if found is not None and not found.is_made and found.status != "REVIEW_IN_PROGRESS":
                self.delete(plan.stack, plan.region)
            change_set, _ = self._change_set(plan.stack, plan.region, plan.template, plan.parameters, kind="CREATE")
        if change_set:
            self._cloud.call("cloudformation", "execute_change_set", plan.region, ChangeSetName=change_set)
        found = self.find(plan.stack, plan.region)
        if found is None or found.status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
            status = found.status if found else "gone"
            if status == "UPDATE_ROLLBACK_COMPLETE" and not change_set:
                return found.outputs if found else {}
            raise DeploymentUnfit(
                f"the stack {plan.stack} in {plan.region} is {status}: {self._reason(plan.stack, plan.region)}",
                remedy="mend what it names, and run it again",
            )
        return found.outputs

    def delete(self, stack: str, region: str) -> None:
        """Delete a stack, and wait; what is retained stays."""
        self._cloud.call("cloudformation", "delete_stack", region, StackName=stack)
        self._settled(stack, region)

    def _settled(self, stack: str, region: str) -> Mapping[str, Any] | None:
        """The stack when nothing is under way on it; None where there is none."""
        every_s, until_s = LOOK_EVERY_S, time.monotonic() + WAIT_MAX_S
        while True:
            described = self._described(stack, region)
            status = described["StackStatus"] if described else ""
            if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                return described
            if time.monotonic() > until_s:
                raise DeploymentUnfit(f"the stack {stack} in {region} is {status} since an hour")
            self._sleep(every_s)
            every_s = min(LOOK_EVERY_MAX_S, every_s * 1.3)

    def _described(self, stack: str, region: str) -> Mapping[str, Any] | None:
        try:
            answer = self._cloud.call("cloudformation", "describe_stacks", region, StackName=stack)
        except SaidNo as no:
            if no.code == "ValidationError":
                return None
            raise
        (described,) = answer["Stacks"]
        return None if described["StackStatus"] in _GONE else described

    def _change_set(
        self,
        stack: str,
        region: str,
        template: Mapping[str, Json],
        parameters: Mapping[str, str | None],
        *,
        kind: str,
    ) -> tuple[str, Sequence[Change]]:
        """Make a change set; empty where it would change nothing."""
        text = text_of(template)
        is_long = len(text.encode()) > TEMPLATE_BODY_MAX_BYTES
        body = {"TemplateURL": self._stage(text)} if is_long else {"TemplateBody": text}
        name = f"oncegate-{hashlib.sha256(text.encode()).hexdigest()[:12]}-{time.time_ns()}"
        given = [
            {"ParameterKey": key, **({"UsePreviousValue": True} if value is None else {"ParameterValue": value})}
            for key, value in parameters.items()
        ]
        made = self._cloud.call(
            "cloudformation",
            "create_change_set",
            region,
            StackName=stack,
            ChangeSetName=name,
            ChangeSetType=kind,
            Capabilities=["CAPABILITY_IAM"],
            Parameters=given,
            Tags=[{"Key": TAG, "Value": self._deployment}, {"Key": FORMAT_TAG, "Value": str(FORMAT)}],
            **body,
        )
        described = self._change_set_settled(made["Id"], region)
        if described["Status"] == "FAILED":
            self._cloud.call("cloudformation", "delete_change_set", region, ChangeSetName=made["Id"])
            reason = str(described.get("StatusReason", ""))
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return "", ()
            raise DeploymentUnfit(f"CloudFormation does not take the template of {stack}: {reason}")
        return str(made["Id"]), changes_of(described)

    def _change_set_settled(self, change_set: str, region: str) -> Mapping[str, Any]:
        until_s = time.monotonic() + WAIT_MAX_S
        while True:
            found = self._cloud.call("cloudformation", "describe_change_set", region, ChangeSetName=change_set)
            if found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                return found
            if time.monotonic() > until_s:
                raise DeploymentUnfit(f"the change set {change_set} is {found['Status']} since an hour")
            self._sleep(LOOK_EVERY_S)

    def _reason(self, stack: str, region: str) -> str:
        """The first failure of what was last done: later ones follow from it."""
        events = self._cloud.call("cloudformation", "describe_stack_events", region, StackName=stack)["StackEvents"]
        failed = [each for each in events if str(each.get("ResourceStatus", "")).endswith("_FAILED")]
        if not failed:
            return "no reason is given"
        first = failed[-1]
        return f"{first.get('LogicalResourceId')}: {first.get('ResourceStatusReason', '')}"
