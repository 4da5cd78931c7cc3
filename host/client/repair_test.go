package client

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"pare/plugin"
)

func TestRepairIsAMethodOrAnObject(t *testing.T) {
	for given, want := range map[string]plugin.Repair{
		`"linear"`:              {Method: plugin.RepairLinear},
		`{"method":"none"}`:     {Method: plugin.RepairNone},
		`{}`:                    {},
		`{"layers":"window:3"}`: {Layers: "window:3"},
		`{"quantize":"Q4_k_m"}`: {Quantize: "Q4_k_m"},
		`{"method":"qlora","loss":"next","preset":"review","targets":"ffn","layers":"all","rank":16,"alpha":32,"dropout":0.05,"bits":4,"steps":200,"batch":8,"length":512,"accumulate":2,"learning_rate":0.0001,"warm_up":20,"clip":1,"seed":7,"adapter":true}`: {
			Method: plugin.RepairQLoRA, Loss: plugin.LossNext, Preset: "review", Targets: "ffn", Layers: "all", Rank: 16, Alpha: 32, Dropout: .05, Bits: 4,
			Steps: 200, Batch: 8, Length: 512, Accumulate: 2, LearningRate: 1e-4, WarmUp: 20, Clip: 1, Seed: 7, Adapter: true},
	} {
		var r PruneRequest
		if err := json.Unmarshal([]byte(`{"repair":`+given+`}`), &r); err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		got, err := r.Repair.Settings()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", given, got, err, want)
		}
		b, err := json.Marshal(r.Repair)
		if err != nil {
			t.Fatal(err)
		}
		var again Repair
		if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(&again, r.Repair) {
			t.Errorf("%s was sent as %s (%v)", given, b, err)
		}
	}
	var none *Repair
	if got, err := none.Settings(); err != nil || got != (plugin.Repair{}) {
		t.Errorf("no repair: %+v, %v", got, err)
	}
}

func TestRepairSaysWhatIsWrong(t *testing.T) {
	for given, says := range map[string]string{
		`"lora"`:                                   `repair: method is "lora"; give none, linear, qlora, linear+qlora, partial or full`,
		`{"loss":"mse"}`:                           `loss is "mse"; give distill, next or hidden`,
		`{"preset":"peft"}`:                        "give pare or review",
		`{"targets":"head"}`:                       "give all, ffn or attention",
		`{"layers":"below"}`:                       "give above (the cut), all, or window:4",
		`{"layers":"window:"}`:                     "give a number of layers behind window:",
		`{"layers":"window:0"}`:                    "give a number of layers behind window:",
		`{"rank":0}`:                               "rank is 0; give 1 or more",
		`{"rank":-1}`:                              "rank is -1; give 1 or more",
		`{"steps":0}`:                              "steps is 0; give 1 or more",
		`{"batch":-4}`:                             "batch is -4; give 1 or more",
		`{"length":1}`:                             "length is 1; give 16 or more",
		`{"accumulate":0}`:                         "accumulate is 0; give 1 or more",
		`{"batch":5,"accumulate":2}`:               "batch is 5, which accumulate, 2, does not divide; give a batch of 6",
		`{"warm_up":-1}`:                           "warm_up is -1",
		`{"steps":10,"warm_up":10}`:                "warm_up is 10; give a number of steps from 0 up to less than steps",
		`{"bits":5}`:                               "bits is 5; give 4 or 8",
		`{"alpha":0}`:                              "alpha is 0; give a number above 0",
		`{"learning_rate":0}`:                      "learning_rate is 0; give a number above 0 and at most 1",
		`{"learning_rate":1.5}`:                    "learning_rate is 1.5",
		`{"clip":-1}`:                              "clip is -1",
		`{"dropout":1}`:                            "dropout is 1; give a share",
		`{"quantize":"q9"}`:                        `quantize is "q9"; give f16, q8_0, q4_K_M or q4_K_S`,
		`{"method":"linear","steps":9}`:            `steps is for training, and "linear" does not train`,
		`{"method":"none","seed":9}`:               `seed is for training`,
		`{"method":"full","rank":9}`:               `rank is for adapters, which "full" has none of`,
		`{"method":"linear","adapter":true}`:       `adapter is for adapters`,
		`{"method":"none","data":{"text":"some"}}`: "data is to be repaired with, and the method is none",
		`{"ranks":3}`:                              `unknown field "ranks"`,
		`{"rank":"high"}`:                          "cannot unmarshal string",
		`7`:                                        "give the name of a method, or an object",
		`{"method":"qlora","data":{"path":"/etc/me"}}`: `unknown field "path"`,
	} {
		var r Repair
		err := json.Unmarshal([]byte(given), &r)
		if err == nil {
			_, err = r.Settings()
			if err != nil && plugin.KindOf(err) != plugin.Invalid {
				t.Errorf("%s: %v is not invalid", given, err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", given, err, says)
		}
	}
	nan := math.NaN()
	for _, r := range []Repair{{LearningRate: &nan}, {Alpha: &nan}, {Clip: &nan}, {Dropout: nan}} {
		if _, err := r.Settings(); err == nil {
			t.Errorf("no error for %+v", r)
		}
	}
}
