"""Tasks that a configuration adds to any dual encoder's own losses."""
