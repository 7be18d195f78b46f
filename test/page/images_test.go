package page_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	tab "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"ci-jobs-metrics/test/internal/harness/browser"
)

var images = flag.String("images", "", "the directory in which TestImages saves the images of the README (make screenshots); empty: the test is skipped")

// TestImages saves the images of the README: pages of the made-up company.
func TestImages(t *testing.T) {
	if *images == "" {
		t.Skip("make screenshots makes them")
	}
	receiver := withDemo(t)
	b := browser.NewTab(t, receiver)
	for _, image := range []struct {
		name, path, theme string
		height            float64
	}{
		{"overview-light", "/", "light", 1180},
		{"overview-dark", "/", "dark", 1180},
		{"template-light", "/template?name=dotnet_test", "light", 1400},
	} {
		b.SetView(t, 1280, image.theme)
		b.Open(t, image.path)
		b.Run(t, chromedp.ActionFunc(func(ctx context.Context) error {
			taken, err := tab.CaptureScreenshot().WithCaptureBeyondViewport(true).
				WithClip(&tab.Viewport{Width: 1280, Height: image.height, Scale: 1}).Do(ctx)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(*images, image.name+".png"), small(t, taken), 0o644) //nolint:gosec // part of the repository
		}))
	}
	b.CheckComplaints(t, "images")
}

// small returns a picture in its 256 most frequent colours. It loses only some shades at the
// edges of letters.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[color.Color]int{}
	bounds := full.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(brightness(a), brightness(b)))
	})
	palette := color.Palette(colours[:min(256, len(colours))])
	nearest := map[color.Color]uint8{}
	for _, c := range colours {
		nearest[c] = uint8(palette.Index(c)) //nolint:gosec // of at most 256
	}
	few := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			few.SetColorIndex(x, y, nearest[full.At(x, y)])
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, few); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func brightness(c color.Color) uint32 {
	r, g, b, _ := c.RGBA()
	return r<<16 ^ g<<8 ^ b
}
