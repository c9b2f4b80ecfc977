"""Records every call of the clients that are installed, as it goes over the wire.

`instrument` puts hooks where all clients meet: `Client.send` of httpx and httpx2, botocore's
`_make_api_call`, `ClientSession._request` of aiohttp. A hook looks at the method and the path of
each request; of a call to an LLM it keeps the bytes, and hands on the client's own objects.
"""
