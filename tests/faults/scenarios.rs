//! What befalls a Redis in its life, one thing at a time.
