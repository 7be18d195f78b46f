package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// Variables that both dashboards have and links between them keep. What a link does not name begins as All.
const kept = "${datasource:queryparam}&${job:queryparam}&${receiver:queryparam}"

// The receiver's pages take whole hours only; with its offset a time is the same moment whatever
// time zones Grafana and the receiver show.
const hoursOfPeriod = "from=${__from:date:YYYY-MM-DDTHH:00:00Z}&to=${__to:date:YYYY-MM-DDTHH:00:00Z}"

// toDashboard leads to a dashboard. Of cells it keeps the time too, which links of dashboards do by
// themselves.
func toDashboard(title, uid, values string) dashboard.DashboardLink {
	return dashboard.DashboardLink{Title: title, Type: dashboard.DashboardLinkTypeLink, Tags: []string{},
		Url: ptr("/d/" + uid + "?" + kept + values)}
}

const keepTime = "&${__url_time_range}"

// toReceiver leads to one of its pages, in a window of its own.
func toReceiver(title, page string) dashboard.DashboardLink {
	separator := "?"
	if strings.Contains(page, "?") {
		separator = "&"
	}
	return dashboard.DashboardLink{Title: title, Type: dashboard.DashboardLinkTypeLink, Tags: []string{},
		Url: ptr("${receiver}" + page + separator + hoursOfPeriod), TargetBlank: true}
}

// inMenu is a link of the dashboard itself.
func inMenu(link dashboard.DashboardLink, icon, tooltip string) dashboard.DashboardLink {
	link.Icon, link.Tooltip, link.KeepTime = icon, tooltip, !link.TargetBlank
	return link
}

func linkBuilders(links []dashboard.DashboardLink) (all []cog.Builder[dashboard.DashboardLink]) {
	for _, l := range links {
		all = append(all, built[dashboard.DashboardLink]{l})
	}
	return all
}

// plainLinks are those of a column, which know less than others.
func plainLinks(links []dashboard.DashboardLink) (all []map[string]any) {
	for _, l := range links {
		all = append(all, map[string]any{"title": l.Title, "url": *l.Url, "targetBlank": l.TargetBlank})
	}
	return all
}
