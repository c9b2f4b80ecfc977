"""How answers look: tables, trees, bars and conversations for people, JSON for machines."""
