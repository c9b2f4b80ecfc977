"""Secrets as they stand in requests and texts, and what only looks like one."""

import json
from typing import Any

from bson import Code

MARK = "9sECRETmARK"  # in every secret here, and in nothing else
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMII{MARK}\nabc=\n-----END RSA PRIVATE KEY-----"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{MARK}.{MARK}-x_y"
# What requests to providers carry, each by the name of a parameter.
REQUESTS: tuple[dict[str, Any], ...] = (
    {"api_key": f"sk-live-{MARK}"},
    {"apiKey": MARK},
    {"api-key": {"value": MARK, "kind": "x"}},
    {"X-API-KEY": MARK},
    {"extra_headers": {"Authorization": f"Bearer {MARK}"}},
    {"extra_headers": {"X-Custom-Auth": MARK, "Content-Type": "application/json"}},
    {"extra_headers": [["X-Whatever", MARK]]},
    {"tools": [{"type": "mcp", "server_url": f"https://mcp.example/sse?token={MARK}"}]},
    {"tools": [{"type": "mcp", "authorization": MARK, "headers": {"X-Key": f"k {MARK}"}}]},
    {"mcp_servers": [{"type": "url", "url": "https://x", "authorization_token": MARK}]},
    {"aws_secret_access_key": MARK, "aws_session_token": MARK},
    {"base_url": f"https://user:{MARK}@proxy", "password": 1234567890123},
    {"vertex_credentials": json.dumps({"private_key": PEM})},
    {"connection_string": f"Server=x;Password={MARK}"},
    {"metadata": {"cookie": f"sid={MARK}", "Set-Cookie": f"a={MARK}; Path=/"}},
    {"metadata": {"code": Code("f", {"api_key": MARK})}},
    {"metadata": {"deep": [[[{"a": {"client_secret": MARK}}]]]}},
    {"metadata": {f"sk-proj-{MARK}": 1, "b": f"sk-proj-{MARK}".encode()}},
    {"metadata": {"fields": [{"name": "Authorization", "value": f"Basic {MARK}"}]}},
    {"metadata": {"args": json.dumps({"password": f'a"b\\{MARK}', "n": 1})}},
    {"metadata": {"args": json.dumps({"in": json.dumps({"api_key": f"x\n{MARK}"})})}},
    {"metadata": {"args": '{"cut": true, "password": "' + MARK}},
    {"metadata": {"repr": repr({"access_token": MARK})}},
    {"metadata": {"go": f'{{"url": "https://x/?a=1\\u0026token={MARK}"}}'}},
    {"metadata": {"php": f'{{"url": "https:\\/\\/user:{MARK}@host\\/"}}'}},
    {"metadata": {"broken": json.dumps([f"api\nkey={MARK}"])}},
    {"metadata": {"wide": json.dumps([f"s\u200bk\u2010proj-{MARK}0123456789"])}},
    {"metadata": {"auth": ["user", MARK], "credentials": {"login": "ada", "pass": MARK}}},
    {"user_id": f"ghp_{MARK}0123456789abcdefghij", "tags": [f"glpat-{MARK}012345"]},
    {"tools": [{"function": {"name": "f", "parameters": {"properties": {"password": {
        "type": "string", "default": MARK}}}}}]},
)  # fmt: skip
TEXTS = (
    f"Incorrect API key provided: sk-live-{MARK}. You can find your key at https://x.",
    f"POST https://api.example.com/v1?key={MARK} failed",
    f"curl -H 'authorization: bearer {MARK}' https://x",
    f"postgresql://app:{MARK}@db:5432/app",
    f"export AWS_SECRET_ACCESS_KEY={MARK}\nexport PATH=/bin",
    f"line\\nsk-ant-api03-{MARK}",
    f"{'word ' * 5_000}xoxb-123456789012-{MARK}",
    f"https://api.telegram.org/bot1234567890:AA{MARK}0123456789abcdefghijklmnop/sendMessage",
    f"AIzaSy{MARK}0123456789abcdefghijkl",
    f"AKIA{'A' * 16} and secret_access_key: '{MARK}'",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{MARK}",
    f"Basic  ghp_{MARK}0123456789abcdef, bearer authentication: see sk-or-v1-{MARK}",
    f"<config><password>{MARK}</password></config>",
    f"tool --api-key {MARK} --verbose; password := '{MARK}'",
    f"Authorization: ApiKey {MARK}\r\nCookie: sid={MARK}",
    f"https%3A%2F%2Fx%2F%3Faccess_token%3D{MARK}",
    f"https://x{MARK}@git.example/x.git",
    f"db:\n  user: app\n  password: {MARK}\n",
    f"{'日本語。' * 2_000}password={MARK}",
    PEM,
    JWT,
)
# What looks like one, and has to stay.
INNOCENT: tuple[dict[str, Any], ...] = (
    {"metadata": {"schema": {"properties": {"password": {"type": "string", "description": "x"}}}}},
    {"metadata": {"logprobs": {"content": [{"token": "Hello", "logprob": -0.1, "bytes": [72]}]}}},
    {"metadata": {"max_tokens": 5, "prompt_tokens": 3, "token_count": "7", "eos_token": "</s>"}},
    {"metadata": {"text": "The secret of a password is its length; a token is a piece of text."}},
    {"metadata": {"text": "Set api_key=os.environ['KEY'], password=password, for task-oriented."}},
    {"metadata": {"required": ["password", "token"], "is_secret": True, "password_policy": "long"}},
    {"metadata": {"cookies": "chocolate", "nextPageToken": "CAUQAA", "url": "https://x.y/a?b=c"}},
    {"extra_headers": {"HTTP-Referer": "https://app.example", "X-Title": "app", "Accept": "*/*"}},
)  # fmt: skip
