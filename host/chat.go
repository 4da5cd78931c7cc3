package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/model/renderers"
	"github.com/ollama/ollama/template"
	"github.com/ollama/ollama/types/model"

	"pare/plugin"
)

const (
	mediaTemplate = "application/vnd.ollama.image.template"
	mediaPrompt   = "application/vnd.ollama.image.prompt" // an older name for a template
	mediaSystem   = "application/vnd.ollama.image.system"
	mediaMessages = "application/vnd.ollama.image.messages"
	mediaParams   = "application/vnd.ollama.image.params"
)

// A chat is how a stored model is talked to, from the layers beside its GGUF.
type chat struct {
	name     string
	options  api.Options // Ollama's defaults, with the model's own
	template *template.Template
	renderer string // of Ollama, in the place of the template, or ""
	system   string
	messages []api.Message // that every chat begins with
	thinks   bool
}

// options are the model's parameters over Ollama's defaults.
func (s stored) options() (api.Options, error) {
	o := api.DefaultOptions()
	set := map[string]any{}
	if err := s.readLayer(mediaParams, func(b []byte) error { return json.Unmarshal(b, &set) }); err != nil {
		return o, err
	}
	if err := o.FromMap(set); err != nil {
		return o, fmt.Errorf("read the parameters of %s: %w", s.name.DisplayShortest(), err)
	}
	return o, nil
}

// chat reads how a model is talked to.
func (s stored) chat() (c chat, err error) {
	c = chat{name: s.name.DisplayShortest(), template: template.DefaultTemplate}
	if c.options, err = s.options(); err != nil {
		return c, err
	}
	for media, read := range map[string]func([]byte) error{
		mediaTemplate: func(b []byte) (err error) { c.template, err = template.Parse(string(b)); return err },
		mediaPrompt:   func(b []byte) (err error) { c.template, err = template.Parse(string(b)); return err },
		mediaSystem:   func(b []byte) error { c.system = string(b); return nil },
		mediaMessages: func(b []byte) error { return json.Unmarshal(b, &c.messages) },
	} {
		if err := s.readLayer(media, read); err != nil {
			return c, err
		}
	}
	b, err := readBlob(s.manifest.Config.Digest)
	if err != nil {
		return c, fmt.Errorf("read the configuration of %s: %w", c.name, err)
	}
	var config model.ConfigV2
	if err := json.Unmarshal(b, &config); err != nil {
		return c, fmt.Errorf("read the configuration of %s: %w", c.name, err)
	}
	c.renderer = config.Renderer
	c.thinks, err = c.canThink(config.Capabilities)
	return c, err
}

// canThink reports whether Ollama would have the model think where a request says
// nothing of it.
func (c chat) canThink(capabilities []string) (bool, error) {
	vars, err := c.template.Vars()
	if err != nil {
		return false, fmt.Errorf("read the template of %s: %w", c.name, err)
	}
	return slices.Contains(capabilities, string(model.CapabilityThinking)) || slices.Contains(vars, "think"), nil
}

// readLayer calls read with the content of the model's layer of a kind, if it has one.
func (s stored) readLayer(media string, read func([]byte) error) error {
	for _, l := range s.manifest.Layers {
		if l.MediaType != media {
			continue
		}
		b, err := readBlob(l.Digest)
		if err == nil {
			err = read(b)
		}
		if err != nil {
			return fmt.Errorf("read a layer of %s (%s): %w", s.name.DisplayShortest(), media, err)
		}
	}
	return nil
}

// render is the prompt that Ollama's server would make of messages. With no word
// on thinking, a model that can does.
func (c chat) render(messages []api.Message, think *api.ThinkValue) (string, error) {
	if len(messages) == 0 {
		return "", plugin.Errorf(plugin.Invalid, "messages are missing; give one or more")
	}
	all := slices.Concat(c.messages, messages)
	if messages[0].Role != "system" && c.system != "" {
		all = slices.Insert(all, 0, api.Message{Role: "system", Content: c.system})
	}
	if think == nil && c.thinks {
		think = &api.ThinkValue{Value: true}
	}
	if c.renderer != "" {
		prompt, err := renderers.RenderWithRenderer(c.renderer, all, nil, think)
		if err != nil {
			return "", fmt.Errorf("render the prompt for %s: %w", c.name, err)
		}
		return prompt, nil
	}
	values := template.Values{Messages: all, IsThinkSet: think != nil}
	if think != nil {
		values.Think, values.ThinkLevel = think.Bool(), think.String()
	}
	var prompt bytes.Buffer
	if err := c.template.Execute(&prompt, values); err != nil {
		return "", fmt.Errorf("render the prompt for %s: %w", c.name, err)
	}
	return prompt.String(), nil
}
