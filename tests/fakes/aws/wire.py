"""What a request asks for, and how AWS's services say what went wrong."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.fakes.aws import rest
from werkzeug.wrappers import Request, Response

SCOPE = re.compile(r"Credential=(?P<key>[^/,]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
JSON_TYPE = "application/x-amz-json-1.1"
# What of S3's requests says which operation it is: method, whether there is a key, and a part of the query.
S3_OPERATIONS = (
    ("POST", "delete", "DeleteObjects"),
    ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("PUT", "partNumber", "UploadPart"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
    ("GET", "list-type", "ListObjectsV2"),
    ("GET", "uploads", "ListMultipartUploads"),
    ("GET", "uploadId", "ListParts"),
)
S3_ON_OBJECTS = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
S3_ON_BUCKETS = {"GET": "ListObjects", "PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}


@dataclass
class AwsError(Exception):
    """An answer that is an error, in AWS's words."""

    code: str
    message: str
    status: int = 400

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass
class Call:
    """One request.

    Attributes:
        service: As it is signed for, such as ``elasticmapreduce`` or ``s3``.
        operation: Such as ``RunJobFlow``.
        parameters: What was sent: for S3 the bucket and the key, of lists the prefix, of several that are deleted
            their keys.
        key: The access key that signed it.
        region: Region that it was signed for.
        at: When it came, by the double's clock.
        status: HTTP status of the answer; 0 if the answer was lost.
        error: Code of the error that was answered.
    """

    service: str
    operation: str
    parameters: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    region: str = "us-east-1"
    at: float = 0.0
    status: int = 0
    error: str | None = None


def read(request: Request) -> Call:
    """What a request asks for. The body of what S3 stores is left unread."""
    scope = SCOPE.search(request.headers.get("Authorization", ""))
    service = scope["service"] if scope else "s3"
    known = {"key": scope["key"], "region": scope["region"]} if scope else {}
    if service in ("s3", "s3express"):
        bucket, _, key = request.path.lstrip("/").partition("/")
        asked = {"Bucket": bucket, "Key": key, **_s3_lists(request)}
        return Call("s3", _s3_operation(request, key), asked, **known)
    if service == rest.SERVICE:
        return Call(service, *rest.read(request), **known)
    target = request.headers.get("X-Amz-Target")
    body = request.get_data(cache=True)
    if target:
        return Call(service, target.rpartition(".")[2], json.loads(body or b"{}"), **known)
    form = dict(parse_qsl(body.decode(errors="replace"))) | request.args.to_dict()
    operation = form.pop("Action", None) or f"{request.method} {request.path}"
    return Call(service, operation, form or rest.json_or_nothing(body), **known)


def _s3_lists(request: Request) -> dict[str, Any]:
    """Names besides bucket and key. A list of keys is small: its body is read, and stays to be read."""
    if request.method == "POST" and "delete" in request.args:
        return {"Keys": re.findall(r"<Key>([^<]*)</Key>", request.get_data(cache=True).decode(errors="replace"))}
    return {"Prefix": request.args["prefix"]} if "prefix" in request.args else {}


def _s3_operation(request: Request, key: str) -> str:
    for method, mark, operation in S3_OPERATIONS:
        if request.method == method and mark in request.args:
            return operation
    if request.method == "PUT" and "X-Amz-Copy-Source" in request.headers:
        return "CopyObject"
    return (S3_ON_OBJECTS if key else S3_ON_BUCKETS).get(request.method, request.method)


def answer(call: Call, body: dict[str, Any]) -> Response:
    """What EMR answers when all is well."""
    text = json.dumps(body) if body or call.service == rest.SERVICE else ""
    kind = "application/json" if call.service == rest.SERVICE else JSON_TYPE
    return Response(text, 200, content_type=kind, headers={"x-amzn-RequestId": str(uuid.uuid4())})


def error_answer(call: Call, error: AwsError) -> Response:
    """An error, in the form that the service would use."""
    identity = {"x-amzn-RequestId": str(uuid.uuid4())}
    if call.service == "s3":
        text = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
        return Response(text, error.status, content_type="application/xml", headers=identity)
    if call.service in ("iam", "sts", "ec2", "sns", "sqs"):
        inner = f"<Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
        text = f"<ErrorResponse>{inner}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        return Response(text, error.status, content_type="text/xml", headers=identity)
    text = json.dumps({"__type": error.code, "message": error.message})
    return Response(text, error.status, content_type=JSON_TYPE, headers={**identity, "x-amzn-ErrorType": error.code})
