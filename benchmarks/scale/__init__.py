"""Many tasks at once: what a finished task costs, beside raw sockets and published clients."""
