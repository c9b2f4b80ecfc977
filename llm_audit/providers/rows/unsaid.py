"""Answers without words: vectors, verdicts, pictures, orders."""

from llm_audit.providers.shape import Shape

ROWS = (
    Shape(  # all that have nothing to say
        api="openai.embeddings",  # Azure, Mistral, Voyage, vLLM …
        known_by=("data.embedding",),
        id=("id",),
        model=("model",),
        usage=("usage",),
        vectors=("data.embedding",),
    ),
    Shape(
        api="google.embed_content",  # and Vertex' predict
        known_by=("embeddings.values", "embedding.values", "predictions.embeddings.values"),
        usage=("usageMetadata", "usage_metadata"),
        vectors=("embeddings.values", "embedding.values", "predictions.embeddings.values"),
    ),
    Shape(
        api="dashscope.embeddings",
        known_by=("output.embeddings.embedding",),
        id=("request_id",),
        usage=("usage",),
        vectors=("output.embeddings.embedding",),
    ),
    Shape(
        api="cloudflare.embeddings",
        known_by=("result.shape",),
        vectors=("result.data",),
    ),
    Shape(
        api="cohere.embed",
        known_by=("response_type=embeddings_floats", "response_type=embeddings_by_type"),
        id=("id",),
        usage=("meta",),
        vectors=("embeddings",),
    ),
    Shape(
        api="embeddings",  # Bedrock's Titan and Nova, Ollama, Hugging Face …
        known_by=("embedding", "embeddings"),
        model=("model",),
        vectors=("embeddings.embedding", "embeddings", "embedding", "embeddingsByType"),
    ),
    Shape(
        api="openai.moderation",
        known_by=("results.flagged",),
        id=("id",),
        model=("model",),
    ),
    Shape(
        api="openai.images",
        known_by=("data.b64_json", "data.url"),
        usage=("usage",),
    ),
    Shape(  # Jina, vLLM …
        api="cohere.rerank",
        known_by=("results.relevance_score",),
        id=("id",),
        usage=("meta",),
    ),
    Shape(
        api="bedrock.rerank",
        known_by=("results.relevanceScore",),
    ),
    Shape(
        api="bedrock.retrieve",
        known_by=("retrievalResults",),
    ),
    Shape(
        api="dashscope.rerank",
        known_by=("output.results.relevance_score",),
        id=("request_id",),
        usage=("usage",),
    ),
    Shape(
        api="voyage.rerank",
        known_by=("data.relevance_score",),
        model=("model",),
        usage=("usage",),
    ),
    Shape(  # of an assistant: what it says is in messages of their own
        api="openai.runs",
        known_by=("object=thread.run",),
        finish_reason=("status",),
        id=("id",),
        model=("model",),
        error=("last_error",),
        usage=("usage",),
    ),
)
