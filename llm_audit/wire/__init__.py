"""What was on the wire, read: pure functions of bytes, which import no client.

`apis` tells by its path whether a request goes to an API, `requests` reads what was asked and gives
it back, `answers` reads what came, streams put together as their own clients do it, `provider` says
whose server it was. What each API looks like is said in `rows`: another one is another row.
"""
