package quant

import "pare/gguf"

// A band is some rows of a matrix that is being stored anew, taken apart.
type band struct {
	c          *codec
	rows, cols int
	w          []float32 // rows×cols: what is to be stored
	code       []byte    // rows×cols
	scale, min []float32 // rows×cols/group
}

// bandOf takes apart the blocks of rows whose numbers are to be w, and gives each
// number the nearest code. A block whose error is smaller with scales made for w has
// these written into it.
func (c *codec) bandOf(t gguf.TensorType, blocks []byte, w []float32, cols int) band {
	b := band{
		c: c, rows: len(w) / cols, cols: cols, w: w,
		code:  make([]byte, len(w)),
		scale: make([]float32, len(w)/c.group),
		min:   make([]float32, len(w)/c.group),
	}
	size, groups := int(t.TypeSize()), c.block/c.group
	fresh := make([]byte, size)
	for i := range len(w) / c.block {
		block, numbers := blocks[i*size:][:size], w[i*c.block:][:c.block]
		g := grid{b.code[i*c.block:][:c.block], b.scale[i*groups:][:groups], b.min[i*groups:][:groups]}
		c.open(block, g)
		kept := c.nearest(g, numbers)
		if c.fit == nil || kept == 0 {
			continue
		}
		copy(fresh, block)
		c.fit(fresh, numbers)
		c.open(fresh, g)
		if c.nearest(g, numbers) < kept {
			copy(block, fresh)
			continue
		}
		c.open(block, g)
		c.nearest(g, numbers)
	}
	return b
}

// put writes the codes into the blocks.
func (b band) put(t gguf.TensorType, blocks []byte) {
	size := int(t.TypeSize())
	for i := range len(b.code) / b.c.block {
		b.c.put(blocks[i*size:][:size], b.code[i*b.c.block:][:b.c.block])
	}
}

// ruler finds codes for number i of the band.
func (b band) ruler(i int) ruler {
	i /= b.c.group
	return b.c.ruler(float64(b.scale[i]), float64(b.min[i]))
}
