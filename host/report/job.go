package report

import (
	"cmp"
	"io"

	"pare/plugin"
)

// jobDocument is what a job says. p may be nil.
func jobDocument(r plugin.Report, p *plugin.Profile) document {
	d := document{Kind: "Pruning report", Title: plain(r.Parent.Name)}
	if !r.DryRun && r.Result.Name != "" {
		d.Title += " → " + plain(r.Result.Name)
	}
	d = d.add(planSection(r))
	if r.Repair != nil {
		d = d.add(repairSection(r.Parent.Name, *r.Repair))
	}
	d.Sections = append(d.Sections, compared(r)...)
	if p != nil {
		d = d.add(section{Title: "How far each block turns the hidden states", Aside: true, Figure: &figure{
			Caption: "Each cell is a block of layers that could go; the darker, the less it changes what passes through it.",
			draw:    func(w io.Writer, format string) error { return drawProfile(w, format, r, *p) },
		}})
	}
	if r.Unrepaired != "" {
		d = d.add(section{Title: "Repair", Notes: []string{"not repaired: " + plain(r.Unrepaired)}})
	}
	d.Where = []fact{
		{"job", plain(r.Job)},
		{"plugin", cmp.Or(plain(r.PluginName), none)},
		{"profile", cmp.Or(plain(r.Plan.Profile), "none was needed")},
	}
	d.Where = append(d.Where, corpora("chosen on", r.Plan.Text)...)
	if r.Repair != nil {
		d.Where = append(d.Where, repairFacts(*r.Repair)...)
	}
	if e := r.Evaluation; e != nil {
		d.Banner = verdict(e.Verdict)
		if r.Repair != nil && e.Verdict != nil && e.Verdict.Say == plugin.SayRepair {
			d.Banner.Label = "Verdict: repair more." // that it was repaired first is behind it
		}
		for _, s := range details(e) {
			s.Aside = true
			d = d.add(s)
		}
		d.Where = append(d.Where, provenance(*e)...)
		return d
	}
	d.Where = append(d.Where, model("model", plugin.Measured{ModelInfo: r.Parent}))
	if !r.DryRun {
		d.Where = append(d.Where, model("result", plugin.Measured{ModelInfo: r.Result}))
	}
	d.Banner = &banner{Label: "Quality was not measured:", Reason: cmp.Or(plain(r.Unmeasured), "it was not asked for. `pare eval` measures it")}
	return d
}

// compared is the table before and after, of what there is: a dry run that was
// not evaluated has no after.
func compared(r plugin.Report) []section {
	before, after := plugin.Measured{ModelInfo: r.Parent}, &plugin.Measured{ModelInfo: r.Result}
	if e := r.Evaluation; e != nil {
		before = e.Before
		if e.After == nil {
			return []section{measured("Before", before, nil, e)}
		}
		after = e.After
	} else if r.DryRun {
		return nil
	}
	return []section{measured("Before and after", before, after, r.Evaluation)}
}
