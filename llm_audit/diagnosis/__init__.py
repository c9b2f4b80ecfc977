"""What is known of every process, journal and call: `llm_audit.doctor()`."""
