#!/bin/bash
# docker-mailserver runs this before it starts Dovecot.
cp /tmp/docker-mailserver/xaps/95-xaps.conf /etc/dovecot/conf.d/95-xaps.conf
