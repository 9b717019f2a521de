"""The command line, installed as mnasnet_deploy.cli: one thin file per group of commands."""
