"""Frameworks above the clients: they give context, the wire gives the calls.

What a framework knows of a call, its run and its tags, is put where the hook of the client finds
it. Recorded here is only what never reaches a wire: steps of tools and agents, answers out of a
cache, models in this process.
"""

from llm_audit.capture.frameworks import langchain, langgraph, litellm, openai_agents, pydantic_ai

HOOKS = (
    *langchain.HOOKS,
    *langgraph.HOOKS,
    *litellm.HOOKS,
    *openai_agents.HOOKS,
    *pydantic_ai.HOOKS,
)
