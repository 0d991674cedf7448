#!/bin/sh
# Builds a stand-in for the base image from Debian's packages, where its registry cannot be reached. Needs mmdebstrap,
# podman and root. It is tagged as the Dockerfile names it.
set -eu
name=docker.io/library/python:3.11-slim
if podman image exists "$name" || podman pull --quiet "$name" 2> /dev/null; then
    echo "$name exists"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --variant=minbase --include=python3.11,python3.11-venv,ca-certificates \
    --customize-hook='ln -s python3.11 "$1/usr/bin/python"' bookworm "$folder/base.tar"
podman import "$folder/base.tar" "$name"
