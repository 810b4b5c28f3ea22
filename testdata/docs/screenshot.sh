#!/bin/sh
# Draws the top of a page as the README shows it: screenshot.sh PAGE.html OUT.png
set -e
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --blink-settings=preferredColorScheme=1 \
  --window-size="${WINDOW:-1000,1400}" --screenshot="$2" "file://$1" 2>/dev/null
