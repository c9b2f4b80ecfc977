"""Rules for what tells who somebody is, by the names under which `redact` takes them."""

from llm_audit.redaction.rule import Rule

RULES: dict[str, Rule] = {
    "email": Rule("email", r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", literals=("@",)),
}
