"""Frameworks above the clients: they give context, the wire gives the calls.

What a framework knows of a call, its run and its tags, is put where the hook of the client finds
it. Recorded here is only what never reaches a wire: steps of tools and agents, answers out of a
cache, models in this process.
"""

from llm_audit.capture.frameworks import (
    crewai,
    instructor,
    langchain,
    langgraph,
    litellm,
    llama_index,
    openai_agents,
    pydantic_ai,
)

HOOKS = (
    *crewai.HOOKS,
    *instructor.HOOKS,
    *langchain.HOOKS,
    *langgraph.HOOKS,
    *litellm.HOOKS,
    *llama_index.HOOKS,
    *openai_agents.HOOKS,
    *pydantic_ai.HOOKS,
)
