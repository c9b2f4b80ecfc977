"""Secrets that were made up, each planted where such things turn up.

No key here opens anything: each is a prefix that its provider publishes, with letters drawn by lot.
"""

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

ROUNDS = 5  # keys of each form, alike but for what is drawn
_WORD = string.ascii_letters + string.digits
_URL = _WORD + "-_"
_BASE64 = _WORD + "+/"
_HEX = string.digits + "abcdef"
_LOWER = string.ascii_lowercase + string.digits
_UPPER = string.ascii_uppercase + string.digits
_BASE32 = string.ascii_uppercase + "234567"


class Planted(NamedTuple):
    """Something in its surroundings.

    Attributes:
        kind: What it is; of personal data, the rule that finds it.
        form: How it is written.
        secret: What must not be stored.
        value: What holds it: a text, or a document.
    """

    kind: str
    form: str
    secret: str
    value: object


def _of(*parts: str | tuple[str, int]) -> Callable[[random.Random], str]:
    """Return what makes a key: fixed parts, and alphabets with the number of letters drawn."""

    def make(drawn: random.Random) -> str:
        return "".join(
            part if isinstance(part, str) else "".join(drawn.choices(part[0], k=part[1]))
            for part in parts
        )

    return make


def _jwt(drawn: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signature = "".join(drawn.choices(_URL, k=43))
    claims = {"sub": str(drawn.randrange(10**9)), "exp": 1_900_000_000}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{signature}"


def _pem(kind: str) -> Callable[[random.Random], str]:
    def make(drawn: random.Random) -> str:
        lines = "\n".join("".join(drawn.choices(_BASE64, k=64)) for _ in range(6))
        return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"

    return make


KEYS: dict[str, Callable[[random.Random], str]] = {
    "OpenAI": _of("sk-", (_WORD, 20), "T3BlbkFJ", (_WORD, 20)),
    "OpenAI, of a project": _of("sk-proj-", (_URL, 74), "T3BlbkFJ", (_URL, 74)),
    "OpenAI, of a service account": _of("sk-svcacct-", (_URL, 74), "T3BlbkFJ", (_URL, 74)),
    "Anthropic": _of("sk-ant-api03-", (_URL, 93), "AA"),
    "Anthropic, of an administrator": _of("sk-ant-admin01-", (_URL, 93), "AA"),
    "OpenRouter": _of("sk-or-v1-", (_HEX, 64)),
    "DeepSeek": _of("sk-", (_HEX, 32)),
    "Google": _of("AIza", (_URL, 35)),
    "Google OAuth": _of("ya29.", (_URL, 120)),
    "Google OAuth client": _of("GOCSPX-", (_URL, 28)),
    "Groq": _of("gsk_", (_WORD, 52)),
    "xAI": _of("xai-", (_WORD, 80)),
    "Perplexity": _of("pplx-", (_WORD, 48)),
    "Hugging Face": _of("hf_", (string.ascii_letters, 34)),
    "Replicate": _of("r8_", (_WORD, 37)),
    "Cerebras": _of("csk-", (_LOWER, 48)),
    "NVIDIA": _of("nvapi-", (_URL, 64)),
    "Tavily": _of("tvly-", (_WORD, 32)),
    "Pinecone": _of("pcsk_", (_WORD, 6), "_", (_WORD, 63)),
    "Langfuse": _of("sk-lf-", (_HEX, 8), "-", (_HEX, 4), "-4", (_HEX, 3), "-a", (_HEX, 15)),
    "LangSmith": _of("lsv2_pt_", (_HEX, 32), "_", (_HEX, 10)),
    "AWS access key": _of("AKIA", (_BASE32, 16)),
    "AWS session key": _of("ASIA", (_BASE32, 16)),
    "AWS context key": _of("ACCA", (_BASE32, 16)),
    "GitHub": _of("ghp_", (_WORD, 36)),
    "GitHub OAuth": _of("gho_", (_WORD, 36)),
    "GitHub app": _of("ghs_", (_WORD, 36)),
    "GitHub, fine-grained": _of("github_pat_", (_WORD, 22), "_", (_WORD, 59)),
    "GitLab": _of("glpat-", (_URL, 20)),
    "Slack": _of("xoxb-", (string.digits, 12), "-", (string.digits, 13), "-", (_WORD, 24)),
    "Slack app": _of("xapp-1-A", (_UPPER, 10), "-", (string.digits, 13), "-", (_HEX, 64)),
    "Slack webhook": _of(
        "https://hooks.slack.com/services/T", (_UPPER, 8), "/B", (_UPPER, 10), "/", (_WORD, 24)
    ),
    "Stripe": _of("sk_live_", (_WORD, 24)),
    "Stripe, restricted": _of("rk_live_", (_WORD, 24)),
    "Stripe webhook": _of("whsec_", (_WORD, 32)),
    "SendGrid": _of("SG.", (_URL, 22), ".", (_URL, 43)),
    "Twilio": _of("SK", (_HEX, 32)),
    "npm": _of("npm_", (_WORD, 36)),
    "PyPI": _of("pypi-AgEIcHlwaS5vcmc", (_URL, 150)),
    "DigitalOcean": _of("dop_v1_", (_HEX, 64)),
    "Databricks": _of("dapi", (_HEX, 32)),
    "Telegram bot": _of((string.digits, 10), ":AA", (_URL, 33)),
    "Shopify": _of("shpat_", (_HEX, 32)),
    "Linear": _of("lin_api_", (_WORD, 40)),
    "Notion": _of("ntn_", (_WORD, 46)),
    "Vault": _of("hvs.", (_URL, 90)),
    "age": _of("AGE-SECRET-KEY-1", ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "JWT": _jwt,
    "PEM, RSA": _pem("RSA PRIVATE KEY"),
    "PEM, PKCS 8": _pem("PRIVATE KEY"),
    "PEM, OpenSSH": _pem("OPENSSH PRIVATE KEY"),
    "PEM, encrypted": _pem("ENCRYPTED PRIVATE KEY"),
}
AROUND_KEYS = (
    "{}",
    "My key is {}. Is it any good?",
    "export API={}\n",
    'client = Client("{}", timeout=5)',
    "`{}`",
    "error 401: the key {}, which you sent, is wrong",
    "https://api.example.com/v1?x=1&k={}",
    "('{}',)",
    "<code>{}</code>",
    "key:{};",
)

# By what comes before it, whatever it looks like.
CREDENTIALS: dict[str, tuple[str, ...]] = {
    "Bearer": (
        "Authorization: Bearer {}",
        "curl -H 'authorization: bearer {}' https://x.example",
        '{{"headers": {{"Authorization": "Bearer {}"}}}}',
    ),
    "Basic": ("Authorization: Basic {}", "-H 'Proxy-Authorization: Basic {}'"),
    "URL": (
        "postgresql://app:{}@db.example.com:5432/app",
        "see redis://:{}@cache.example.com/0 for it",
        "mongodb+srv://app:{}@cluster.example.mongodb.net/?w=majority",
        "https://ada:{}@git.example.com/x.git",
    ),
    "query": (
        "https://api.example.com/v1/models?key={}",
        "GET /x?access_token={}&page=2",
        "https://api.example.com/x?page=2&api_key={}",
    ),
    "assignment": (
        "api_key={}",
        'OPENAI_API_KEY="{}"',
        "password: {}",
        "aws_secret_access_key = {}",
        'Client(api_key="{}")',
        "'client_secret': '{}'",
    ),
}

KEY_NAMES = (
    *("api_key", "apiKey", "API-KEY", "x-api-key", "X_API_KEY", "openai_api_key", "apikey"),
    *("authorization", "Authorization", "proxy-authorization", "authorization_token"),
    *("password", "Password", "passwd", "db_password", "user-password", "passphrase", "pwd"),
    *("secret", "client_secret", "clientSecret", "aws_secret_access_key", "secret_key"),
    *("access_token", "accessToken", "refresh_token", "auth_token", "id_token", "bearer_token"),
    *("private_key", "privateKey", "session_token", "X-Auth-Token", "cookie", "Set-Cookie"),
    *("credentials", "api_token", "github_token", "webhook_secret", "signing_key"),
)
# Beside these stands nothing secret, though they look like the names above.
INNOCENT: dict[str, object] = {
    "max_tokens": 500,
    "prompt_tokens": 12,
    "total_tokens": 24,
    "token_type": "word",
    "tokens": ["Hello", " world"],
    "token": " Hello",  # of the logprobs
    "tokenizer": "cl100k_base",
    "author": "Ada",
    "authored_by": "Ada",
    "secretary": "Grace",
    "passport_country": "GB",
    "key": "name",
    "keys": ["a", "b"],
    "primary_key": "id",
    "password_policy": "at least 12 characters",
    "is_secret": True,
    "cookie_banner": "shown",
}


def planted_keys() -> Iterator[Planted]:
    """Yield keys of every provider in every surrounding."""
    drawn = random.Random(7)  # noqa: S311  (the same ones each time)
    for kind, make in KEYS.items():
        for around in AROUND_KEYS:
            for _ in range(ROUNDS):
                key = make(drawn)
                yield Planted("key", kind, key, around.format(key))


def planted_credentials() -> Iterator[Planted]:
    """Yield what only its surroundings make a secret."""
    drawn = random.Random(7)  # noqa: S311
    for kind, surroundings in CREDENTIALS.items():
        for around in surroundings:
            for _ in range(ROUNDS):
                secret = "".join(drawn.choices(_WORD, k=24))
                yield Planted(kind, around, secret, around.format(secret))


def planted_under_names() -> Iterator[Planted]:
    """Yield documents that hold something under a name that says it is secret."""
    drawn = random.Random(7)  # noqa: S311
    for name in KEY_NAMES:
        secret = "".join(drawn.choices(_WORD, k=12))
        yield Planted("named", name, secret, {name: secret})
        yield Planted("named", name, secret, {"a": [{"b": {"c": {name: secret}}}]})
        yield Planted("named", name, secret, {"arguments": json.dumps({name: secret})})
