package score

import (
	"encoding/binary"
	"fmt"

	"pare/plugin"
)

// An Observation is one on the wire. Gob takes three times as long over numbers as over
// bytes, which with a GPU is as long as the forward pass takes.
type Observation struct {
	plugin.Observation          // without States
	Packed             [][]byte // which are here, float32 in little-endian order
}

// PackFloats makes the bytes that numbers go over the wire as.
func PackFloats(x []float32) []byte {
	b, _ := binary.Append(make([]byte, 0, 4*len(x)), binary.LittleEndian, x) // it fails on other types alone
	return b
}

func unpackFloats(b []byte) ([]float32, error) {
	x := make([]float32, len(b)/4)
	_, err := binary.Decode(b, binary.LittleEndian, x)
	return x, err
}

// Pack makes the observation that goes over the wire.
func Pack(o plugin.Observation) *Observation {
	out := &Observation{Observation: o}
	out.States = nil
	for _, x := range o.States {
		out.Packed = append(out.Packed, PackFloats(x))
	}
	return out
}

// unpack is the observation that came over the wire.
func (o *Observation) unpack() (plugin.Observation, error) {
	out := o.Observation
	for _, b := range o.Packed {
		x, err := unpackFloats(b)
		if err != nil {
			return out, fmt.Errorf("read an observation: %w", err)
		}
		out.States = append(out.States, x)
	}
	return out, nil
}
