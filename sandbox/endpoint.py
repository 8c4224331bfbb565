"""The endpoint's documented routes: the paid call, and the credits."""

import hashlib

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from sandbox import envelope
from sandbox.accounts import Account
from sandbox.calls import Call
from sandbox.error_codes import CallRefusedError
from sandbox.faults import Fault
from sandbox.image_limits import check_image
from sandbox.state import Sandbox, sandbox_of
from sandbox.strikes import spoil_data, strike_after_charge, strike_before_charge
from sandbox.upload import Upload, read_upload

KEY_HEADER = "ailabapi-api-key"

router = APIRouter()


@router.post("/api/cutout/general/commodity-background-removal")
async def remove_background(request: Request) -> Response:
    """Check the call and charge it. The picture itself is cut out when its URL is first read."""
    sandbox = sandbox_of(request)
    with sandbox.statistics.arrival(), sandbox.calls.arrival() as call:
        try:
            account = _account(request, sandbox)
            with account.admission.admitted(sandbox.settings):
                answer = await _serve(request, sandbox, account, call)
        except CallRefusedError as refusal:
            sandbox.statistics.refused[refusal.code.code] += 1
            answer = _refused(refusal, sandbox)
        return sandbox.calls.delivery(call, answer)


@router.get("/api/common/query-credits")
async def query_credits(request: Request) -> Response:
    """Answer the balance of the key's account, as the one pool of general credits."""
    sandbox = sandbox_of(request)
    try:
        account = _account(request, sandbox)
    except CallRefusedError as refusal:
        return _refused(refusal, sandbox)
    pools = [account.pool()]
    return JSONResponse(envelope.success(sandbox.settings.envelope, pools, envelope.new_request_id()))


@router.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
async def unknown_api(request: Request) -> Response:
    return _refused(CallRefusedError("ERROR_AI_NOT_EXISTS"), sandbox_of(request))


def _account(request: Request, sandbox: Sandbox) -> Account:
    return sandbox.accounts.holder(request.headers.get(KEY_HEADER))


async def _serve(request: Request, sandbox: Sandbox, account: Account, call: Call) -> Response:
    account.require_credit()
    upload = await read_upload(request)
    call.image_sha256 = hashlib.sha256(upload.image).hexdigest()
    check_image(upload.image)
    fault = sandbox.faults.draw()
    await sandbox.latency.wait(sandbox.settings)
    if fault is None:
        return _charged(request, sandbox, account, upload, call=call)
    call.fault = fault.kind
    struck = await strike_before_charge(fault, request, sandbox)
    if struck is not None:
        return struck
    answer = _charged(request, sandbox, account, upload, call=call, fault=fault)
    return await strike_after_charge(fault, request, sandbox, answer)


def _charged(
    request: Request,
    sandbox: Sandbox,
    account: Account,
    upload: Upload,
    *,
    call: Call,
    fault: Fault | None = None,
) -> Response:
    account.pay()
    request_id = call.request_id = envelope.new_request_id()
    sandbox.ledger.record(
        account=account.key,
        image_sha256=call.image_sha256,
        return_form=upload.return_form,
        request_id=request_id,
    )
    name = sandbox.results.publish(
        upload, call.image_sha256, fault.kind if fault else None, lifetime=sandbox.settings.url_lifetime
    )
    base = sandbox.settings.results_url or str(request.base_url)
    data = {"image_url": f"{base.rstrip('/')}/results/{name}"}
    answered = spoil_data(fault, data) if fault else data
    return JSONResponse(envelope.success(sandbox.settings.envelope, answered, request_id))


def _refused(refusal: CallRefusedError, sandbox: Sandbox) -> Response:
    status = refusal.code.status_in(sandbox.settings.statuses)
    headers = {} if refusal.retry_after is None else {"retry-after": f"{refusal.retry_after:g}"}
    body = envelope.failure(sandbox.settings.envelope, refusal.code, status)
    return JSONResponse(body, status, headers)
