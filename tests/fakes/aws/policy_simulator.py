"""IAM's ``SimulatePrincipalPolicy``, which Moto lacks: whoever would be denied a call is told so here.

There are no policies to evaluate: denied is what a test has wished to be refused with ``AccessDeniedException``.
"""

from __future__ import annotations

import re
import uuid
from typing import Any
from xml.sax.saxutils import escape

from tests.fakes.aws.injection import Injections
from werkzeug.wrappers import Response

OPERATION = "SimulatePrincipalPolicy"
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
ACTION = re.compile(r"ActionNames\.member\.(\d+)")
RESULT = (
    "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>*</EvalResourceName>"
    "<EvalDecision>{decision}</EvalDecision><MatchedStatements/><MissingContextValues/></member>"
)


def answer(parameters: dict[str, Any], injections: Injections) -> Response:
    """A decision for every action that was asked for, in order."""
    numbered = sorted((int(found[1]), value) for name, value in parameters.items() if (found := ACTION.fullmatch(name)))
    results = "".join(
        RESULT.format(action=escape(action), decision="implicitDeny" if injections.denies(action) else "allowed")
        for _, action in numbered
    )
    inner = f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"
    text = (
        f'<{OPERATION}Response xmlns="{NAMESPACE}"><{OPERATION}Result>{inner}</{OPERATION}Result>'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{OPERATION}Response>"
    )
    return Response(text, 200, content_type="text/xml")
