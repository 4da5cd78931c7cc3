package heatmap

import "image/color"

// The colours are viridis, which is even in lightness and keeps its order for
// every kind of colour vision and in grey; what is marked on top of it is
// vermilion or white, neither of which it contains.
var (
	viridis = []color.RGBA{
		{0x44, 0x01, 0x54, 0xff}, {0x48, 0x28, 0x78, 0xff}, {0x3e, 0x49, 0x89, 0xff}, {0x31, 0x68, 0x8e, 0xff},
		{0x26, 0x82, 0x8e, 0xff}, {0x1f, 0x9e, 0x89, 0xff}, {0x35, 0xb7, 0x79, 0xff}, {0x6e, 0xce, 0x58, 0xff},
		{0xb5, 0xde, 0x2b, 0xff}, {0xfd, 0xe7, 0x25, 0xff},
	}
	grid      = color.RGBA{0xe4, 0xe4, 0xe4, 0xff}
	vermilion = color.RGBA{0xe8, 0x4a, 0x1c, 0xff}
	blush     = color.RGBA{0xfb, 0xdf, 0xd6, 0xff} // vermilion, as a background
	steel     = viridis[2]
)

// shade is the colour of v on the scale 0..1.
func shade(v float64) color.RGBA {
	x := min(max(v, 0), 1) * float64(len(viridis)-1)
	i := min(int(x), len(viridis)-2)
	mix := func(a, b uint8) uint8 { return uint8(float64(a) + (x-float64(i))*(float64(b)-float64(a)) + .5) }
	a, b := viridis[i], viridis[i+1]
	return color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}
