//! Topics page by page, for whoever lists many.

use crate::broker::Broker;
use crate::request::{Reply, TopicPage, TopicPageQuery};

impl Broker {
    pub(crate) async fn topic_page(self, query: TopicPageQuery) -> Reply {
        let mut page = Vec::new();
        let (mut partitions, mut more) = (0, false);
        {
            let machine = self.inner.catalog().machine();
            // What begins with the prefix stands together.
            let from = query.after.as_deref().filter(|after| *after >= query.prefix.as_str());
            let topics = match from {
                Some(after) => machine.catalog.topics_after(after),
                None => machine.catalog.topics_from(&query.prefix),
            };
            for (id, topic) in topics.take_while(|(_, topic)| topic.name.as_str().starts_with(&query.prefix)) {
                let full = page.len() >= query.topics_max || partitions >= query.partitions_max;
                if full && !page.is_empty() {
                    more = true;
                    break;
                }
                partitions += topic.partitions.len();
                page.push((id, topic.clone()));
            }
        }
        let places = page.iter().flat_map(|(_, topic)| topic.partitions.iter().copied());
        let unknown = self.inner.without_epochs(places);
        self.inner.learn_epochs(unknown).await;
        let silent = self.inner.silent_nodes();
        let topics = page.into_iter().map(|(id, topic)| self.inner.describe_among(id, &topic, &silent)).collect();
        Reply::TopicPage(TopicPage { topics, more })
    }
}
