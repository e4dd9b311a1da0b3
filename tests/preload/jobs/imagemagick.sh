# SPDX-License-Identifier: MIT
# needs: convert
# Pictures drawn, filtered, turned, quantised, joined to an animation and compared, pixel by pixel.
convert -seed 7 -size 200x150 plasma:red-blue picture.miff
convert picture.miff -resize 180% -blur 0x2 -rotate 17 -colorspace Gray -depth 8 gray:- | sha256sum
convert picture.miff -colors 16 -dither FloydSteinberg +map -depth 8 rgb:- | sha256sum
convert -size 100x80 xc:white -fill none -stroke black -draw 'circle 50,40 50,10' -morphology Dilate Disk:2 -depth 8 rgb:- | sha256sum
convert picture.miff -crop 50x50 +repage -append -depth 8 ppm:strip.ppm
sha256sum strip.ppm
convert -delay 10 picture.miff -flip picture.miff -loop 0 animation.gif
identify -format '%m %w %h %n\n' animation.gif
convert nothing.png out.png || echo "status $?"
