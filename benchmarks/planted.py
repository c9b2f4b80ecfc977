"""Secrets and personal data that were made up, each planted where such things turn up.

No key here opens anything: each is a prefix that its provider publishes, with letters drawn by lot.
"""
# ruff: noqa: RUF001  (full-width letters and digits are what has to be found)

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
        kind: What it is, as people call it; of personal data, the rule.
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

PERSONAL: dict[str, tuple[str, ...]] = {
    "email": (
        "ada@example.com",
        "Ada.Lovelace+billing@mail.example.co.uk",
        "o'brien@example.ie",
        "müller@exämple.de",
        "用户@例子.广告",
        "ada@xn--exmple-cua.de",
        "ada (at) example (dot) com",
        "ada[at]example.com",
        "ada%40example.com",
        "ada&#64;example.com",
        "ada＠example．com",
        "a\u200bda@exam\u200bple.com",
        "ada_b@sub.example.museum",
    ),
    "phone": (
        "+49 151 23456789",
        "+4915123456789",
        "+1 (415) 555-0132",
        "+1.415.555.0132",
        "(415) 555-0132",
        "(415)5550132",
        "555-123-4567",
        "415-555-0132",
        "1-800-555-0199",
        "0049 151 23456789",
        "030 1234567",
        "0151/12345678",
        "06 12 34 56 78",
        "020 7946 0958",
        "07700 900123",
        "03-1234-5678",
        "044 668 18 00",
        "0412 345 678",
        "+49 (0)30 123456",
        "+44 20 7946 0958",
        "+33\u00a06\u00a012\u00a034\u00a056\u00a078",
        "+91 98765 43210",
        "+7 (495) 123-45-67",
        "+86 138 1234 5678",
        "(11) 91234-5678",
        "+٩٦٦٥٠١٢٣٤٥٦٧",
        "＋４９ １５１ ２３４５６７８９",
        "+49 151\u2013234 567 89",
        "Tel. 5551234567",
        'phone_number": "5551234567',
    ),
    "card": (
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111111",
        "4222222222222",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "30569309025904",
        "3566002020360505",
        "6200000000000005",
        "４１１１ １１１１ １１１１ １１１１",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111 1111\u200b 1111 1111",
        "٤١١١١١١١١١١١١١١١",
    ),
    "iban": (
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "de89370400440532013000",
        "DE89-3704-0044-0532-0130-00",
        "GB82 WEST 1234 5698 7654 32",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NL91ABNA0417164300",
        "CH9300762011623852957",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
        "ＤＥ89 3704 0044 0532 0130 00",
    ),
    "ip": (
        "10.0.0.1",
        "203.0.113.7",
        "203。0。113。7",
        "2001:db8::1",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "fe80::1",
        "fd12:3456:789a::1",
    ),
}
AROUND_PERSONAL = (
    "{}",
    "see {}, please",
    "({})",
    'a: "{}"',
    "Is it {}?",
    "x={};",
    "line\n{}\nline",
)
# Text full of numbers that are none of these.
NOTHING_PERSONAL = (
    "0190f7a2-0000-7000-8000-000000000001",
    "12345678-1234-1234-1234-123456789012",
    "order 1234567890",
    "id 415555013",
    "2024-01-15T10:30:00+0100",
    "01-02-2024 10:30",
    "12/25/2024 12:30",
    "05/10/2024 - 05/11/2024",
    "2024 10 12 08 15 00",
    "2024.01.15.123456",
    "1700000000",
    "1700000000000",
    "1700000000000000000",
    "+20240115",
    "+10011010010",
    "Boston, MA 02110-1301",
    'PhoneNumber": "379361843b5e8a3d',
    "67280421310721",
    "x+12345678901234",
    "version 1.22.333.4444",
    "0.0123 0.0456 0.0789",
    "3.14159265358979",
    "01 02 03 04 05 06 07",
    "1 2 3 4 5 6 7 8 9 10",
    "10-20-30-40-50-60",
    "2020 2021 2022 2023 2024",
    "100-200-3000",
    "256 512 1024",
    "0123-4567-8901",
    "tool call 12345678901",
    "call_12345678901",
    "ISBN 978-3-16-148410-0",
    "$1,234,567.89",
    "1.234.567,89",
    "[1234567, 2345678, 3456789]",
    "00:1A:2B:3C:4D:5E",
    "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01",
    "4111111111111112",
    "1234567812345678",
    "0000 0000 0000 0000",
    "0.4111111111111111",
    "a4111111111111111",
    "41111111111111111111",
    "DE89370400440532013001",
    "XX89370400440532013000",
    "GB82WEST12345698765432X",
    "git@github.com:org/x.git",
    "logo@2x.png",
    "react@18.2.0",
    "pkg@1.2.3-beta.1",
    "@pytest.fixture",
    "user@localhost",
    "1.2.3.4",
    "127.0.0.1",
    "0.0.0.0",  # noqa: S104
    "255.255.255.0",
    "224.0.0.1",
    "256.1.1.1",
    "::1",
    "Chrome/120.0.0.0",
    "==10.12.13.14",
    "v10.0.0.1",
    "1.3.6.1.4.1.311",
    "10.12.13.14-beta",
    "std::vector",
    "10:30:45",
    "a::b",
)


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


def planted_personal() -> Iterator[Planted]:
    """Yield personal data of every form in every surrounding."""
    for kind, forms in PERSONAL.items():
        for form in forms:
            for around in AROUND_PERSONAL:
                yield Planted(kind, form, form, around.format(form))
