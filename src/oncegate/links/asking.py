"""Whether somebody is asked before a use is spent: the page in place of the object, and the POST of its button.

Gateway and edge show the same pages to the same requests; each says with its own words what it knows of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from oncegate.links.cookies import cookies_of
from oncegate.links.grant import Grant
from oncegate.links.people import is_navigation, is_of_another_site, looks_ahead
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

ConfirmSetting = Literal["auto", "always", "never"]


class PageFirst(NamedTuple):
    """The page with the button is due in place of the object.

    Attributes:
        ahead: why the request only looks ahead: ``prefetch`` or ``preview``; empty for a person.
        is_for_nobody: nobody is there to press the button: a program under ``confirm = always``.
        needs_cookies: the button was pressed, and its cookie did not come back.
    """

    ahead: str
    is_for_nobody: bool
    needs_cookies: bool


def page_first(request: ViewerRequest, grant: Grant, confirm: ConfirmSetting) -> PageFirst | None:
    """Say whether a GET of a download link gets the page in place of the object; None where it does not.

    Args:
        request: verified.
        grant: what it allows.
        confirm: when a person is asked first, where the link says nothing of it.
    """
    # what was signed goes before the setting: the issuer knows for whom the link is
    confirm = grant.limits.confirm or confirm
    ahead, is_person = looks_ahead(request), is_navigation(request)
    if not ahead and confirm != "always" and not (is_person and confirm == "auto"):
        return None
    cookies = cookies_of(request)
    shown = cookies.shown(request)
    # a chat's own browser has the name of a preview agent, and comes back with the button's cookie like any other; a
    # prefetch sends the cookie as well, before anybody clicked
    if ahead != "prefetch" and (cookies.go(grant.link_id) in shown or cookies.claim(grant.link_id) in shown):
        return None
    # the redirect after the button, without the cookie that it set
    came_back = request.header(b"sec-fetch-site") == b"same-origin"
    return PageFirst(ahead=ahead, is_for_nobody=not ahead and not is_person, needs_cookies=came_back and not ahead)


def check_button(request: ViewerRequest) -> None:
    """Check the POST of the page's button.

    Raises:
        Refused: CROSS_SITE; MALFORMED_REQUEST: it has a body.
    """
    # else a page elsewhere could press the button unseen, and its reader's browser would spend the link
    if is_of_another_site(request):
        raise Refused(Reason.CROSS_SITE)
    if has_body(request):
        raise Refused(Reason.MALFORMED_REQUEST)


def has_body(request: ViewerRequest) -> bool:
    """Whether a body follows the head."""
    return (request.header(b"content-length") or b"0") != b"0" or request.header(b"transfer-encoding") is not None


def verify_as_opened(request: ViewerRequest, verify: Callable[[ViewerRequest], Grant]) -> Grant:
    """Verify a request as what it is meant: the button's POST as a GET, a person's GET of an upload link as its PUT.

    Args:
        request: as it came.
        verify: verifies a request of one of the methods that links are for.

    Raises:
        Refused: it is not to be served.
    """
    try:
        return verify(request.as_method("GET") if request.method == "POST" else request)
    except Refused as refused:
        # S3 signs the method: an upload link that is opened by GET has a wrong signature
        may_be_upload = refused.reason in (Reason.METHOD_NOT_GRANTED, Reason.S3_BAD_SIGNATURE)
        if request.method != "GET" or not may_be_upload or not (is_navigation(request) or looks_ahead(request)):
            raise
        try:
            return verify(request.as_method("PUT"))
        # the answer to what was asked, not to this try
        except Refused:
            raise refused from None
