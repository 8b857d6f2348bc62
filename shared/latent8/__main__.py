import sys

from latent8.cli import main

sys.exit(main())
