"""Content that servers send in place of a picture, recognised by its bytes."""

import json
import re

from cutout.images.unfit_image import UnfitImage

_HEAD_BYTES = 1024
_READ_BYTES = 65_536
_BLANKS = b"\xef\xbb\xbf \t\r\n\f\0"
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|script|div|form|h1|p)\b")
_LOGIN_WORDS = (
    rb"log[\s-]?[io]n\b|sign[\s-]?in\b|anmeld|einloggen|connexion|se connecter|iniciar sesi|accedi\b|inloggen"
    rb"|logowanie|single sign|authenticat|password|passwort|mot de passe"
)
_LOGIN_ADDRESS = rb"log-?[io]n|sign-?in|session|sso|saml|oauth"
_LOGIN = re.compile(
    rb"""type\s*=\s*["']?password"""
    rb"|<title[^<>]{0,100}>[^<]{0,200}?(?:" + _LOGIN_WORDS + rb")"
    rb"""|<form[^<>]{0,500}?action\s*=\s*["']?[^"'<>\s]{0,300}?(?:""" + _LOGIN_ADDRESS + rb")"
    rb"""|http-equiv[^<>]{0,300}?/(?:""" + _LOGIN_ADDRESS + rb""")\b"""
)
_LOGIN_PATH = re.compile(
    r"/(?:log-?in|log-?on|sign-?in|sso|saml|oauth2?|auth|account/login|challenge|session)\b"
)


def refused_page(source: bytes) -> UnfitImage | None:
    """Return the error for a web page, a login page, JSON, XML or other text; None for anything else."""
    text = _as_utf8(source[:_READ_BYTES]).lstrip(_BLANKS)
    head = text[:_HEAD_BYTES].lower()
    if not head:
        return None
    if head.startswith(b"<") and _PAGE.search(head):
        return _login_page() if _LOGIN.search(text.lower()) else _web_page()
    if head[:1] in b"{[" and _is_json(text, whole=len(source) <= _READ_BYTES):
        return UnfitImage(
            "IMAGE_IS_JSON",
            "JSON came, not a picture: the address is that of an API; give the address of the picture "
            "that the JSON names",
        )
    if head.startswith((b"<?xml", b"<")) and head.rstrip()[:2] != b"<<":
        return UnfitImage(
            "IMAGE_NOT_A_PICTURE", "an XML document came, not a picture; give the picture's own address"
        )
    if _is_text(text[:_HEAD_BYTES]):
        return UnfitImage(
            "IMAGE_NOT_A_PICTURE",
            f"the file is a text, not a picture: it starts with {source[:8]!r}; send a picture",
        )
    return None


def login_page_at(path: str, source: bytes) -> UnfitImage | None:
    """Return the error for a web page that a redirect to a login path led to; else None."""
    if not _LOGIN_PATH.search(path.lower()):
        return None
    page = refused_page(source)
    return _login_page() if page is not None and page.code == "IMAGE_IS_WEB_PAGE" else page


def _web_page() -> UnfitImage:
    return UnfitImage(
        "IMAGE_IS_WEB_PAGE",
        "a web page came, not a picture: give the picture's own address, which shows only the picture",
    )


def _login_page() -> UnfitImage:
    return UnfitImage(
        "IMAGE_IS_LOGIN_PAGE",
        "a login page came, not a picture: the address needs a login; give a public or signed address, or "
        "upload the picture",
    )


def _as_utf8(head: bytes) -> bytes:
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            return head[2:].decode(encoding, "ignore").encode()
    return head


def _is_json(text: bytes, *, whole: bool) -> bool:
    if whole:
        try:
            json.loads(text.rstrip(_BLANKS))
        except (ValueError, RecursionError):
            pass
        else:
            return True
    # JSON lines, or JSON that is cut: it begins like an object or a list.
    return (
        re.match(rb"""(?:\{\s*(?:"[^"]{0,200}"\s*:|\})|\[\s*(?:[\[{"\d\-]|\]|true|false|null))""", text)
        is not None
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
