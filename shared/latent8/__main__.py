import sys

from latent8.cli.commands import main

sys.exit(main())
