"""The command line: ``nightshift``. One file per group of commands; heavy imports happen inside them."""
