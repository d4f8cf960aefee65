import sys

from runtime.oci.cli import main

sys.exit(main())
