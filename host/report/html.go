package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"inline": inline,
}).Parse(pageHTML))

// writeHTML writes a document as one page that loads nothing: its style and its
// figures are in it, and there is no script.
func writeHTML(w io.Writer, d document) error { return pageTemplate.Execute(w, d) }

// inline draws a figure as an element of a page. What stands around the element
// in a file of its own is left out, and so are its names of namespaces, which
// HTML knows by itself.
func inline(f *figure) (template.HTML, error) {
	var b bytes.Buffer
	if err := f.draw(&b, "svg"); err != nil {
		return "", err
	}
	svg := b.Bytes()
	start := bytes.Index(svg, []byte("<svg"))
	if start < 0 {
		return "", fmt.Errorf("the figure %q is no SVG", f.Caption)
	}
	svg = svg[start:]
	for _, space := range []string{` xmlns="http://www.w3.org/2000/svg"`, ` xmlns:xlink="http://www.w3.org/1999/xlink"`} {
		svg = bytes.Replace(svg, []byte("\n\t"+space[1:]), nil, 1)
		svg = bytes.Replace(svg, []byte(space), nil, 1)
	}
	return template.HTML(svg), nil // drawn here, of text that was escaped when it was drawn
}
