// Package canvas is what Pare's figures are drawn on, all alike: a PNG or an SVG,
// with the same font and the same colours for text.
package canvas

import (
	"bytes"
	"fmt"
	"image/color"
	"io"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// DPI is the resolution of a PNG, two pixels to a point. An SVG has the size in
// inches that the PNG would have.
const DPI = 144

// What every figure has text and ground in.
var (
	Ink   = color.RGBA{0x22, 0x22, 0x22, 0xff}
	Faint = color.RGBA{0x66, 0x66, 0x66, 0xff}
	White = color.RGBA{0xff, 0xff, 0xff, 0xff}
)

// Write has paint draw on a canvas of the given size and writes it as "png" or
// "svg". The same drawing gives the same bytes; nothing is written if it fails.
func Write(w io.Writer, format string, width, height vg.Length, paint func(draw.Canvas)) error {
	var b bytes.Buffer
	var err error
	switch format {
	case "png":
		c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(DPI))
		paint(draw.New(c))
		_, err = vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	case "svg":
		c := vgsvg.New(width, height)
		paint(draw.New(c))
		_, err = c.WriteTo(&b)
		b = *bytes.NewBuffer(portable(b.Bytes()))
	default:
		err = fmt.Errorf(`format %q: use "png" or "svg"`, format)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}

// portable gives the text of an SVG fonts to fall back on, where the one it was
// laid out with is not installed.
func portable(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"))
}

var fonts = font.NewCache(liberation.Collection())

// Style is text of a size and a colour, aligned to the point where it is put.
func Style(size vg.Length, c color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign: x, YAlign: y, Handler: text.Plain{Fonts: fonts},
	}
}
