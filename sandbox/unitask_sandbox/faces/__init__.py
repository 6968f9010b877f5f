"""Face swap on the CPU. The modules work on arrays; `swap` has the whole tasks, bytes in and bytes out."""
