package repair

import (
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// A dropout leaves out a share of numbers at random. Which ones is a hash of a seed and
// of where a number stands, so that the backward pass finds the same without their being
// kept, and a step that is computed again makes the same choice.
type dropout struct {
	share float64
	seed  *Node // uint32 scalar, another for each micro-batch
}

// dropoutSeed is the seed of a micro-batch.
func dropoutSeed(seed int64, step, micro int) uint32 {
	return rand.New(rand.NewPCG(uint64(seed), uint64(step)<<24|uint64(micro))).Uint32()
}

// apply sets a share of x [n, d] to 0 and scales the rest up, so that the mean stays.
// Calls with different salts choose differently.
func (d dropout) apply(x *Node, salt int) *Node {
	if d.share == 0 {
		return x
	}
	g := x.Graph()
	at := IotaFull(g, shapes.Make(dtypes.Uint32, x.Shape().Dimensions...)) // [n, d]
	bits := scramble(Add(at, scramble(AddScalar(d.seed, uint32(salt)))))
	least := Scalar(g, dtypes.Uint32, uint32(d.share*(1<<32)))
	return Where(GreaterOrEqual(bits, least), MulScalar(x, 1/(1-d.share)), ZerosLike(x))
}

// golden is odd and near 2³²/φ: multiples of it spread evenly over all integers.
var golden = uint32(math.Round((1<<32)/math.Phi)) | 1

// scramble maps integers to integers one to one, so that each bit of the result
// depends on all bits of x.
func scramble(x *Node) *Node {
	for _, by := range []uint32{16, 15, 13} {
		x = BitwiseXor(x, BitwiseShiftRightLogicalScalar(x, by))
		x = MulScalar(x, golden)
	}
	return BitwiseXor(x, BitwiseShiftRightLogicalScalar(x, uint32(16)))
}
