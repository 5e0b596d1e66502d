//! The OpenAPI document, made of the table of routes and the types.

use crate::answer::Answer;
use crate::api::{Call, Inner};
use crate::path;
use crate::query::Parameter;
use crate::refusal::Refusal;
use crate::route::{ANY, NAMES, OF_BODY, ROUTES, Route, SchemaOf};
use crate::shape::{Code, ErrorBody, Time};
use bytes::Bytes;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// OpenAPI 3.1, whose schemas are those of JSON Schema 2020-12.
const OPENAPI: &str = "3.1.0";
const COMPONENTS: &str = "/components/schemas";

pub(crate) async fn answer(api: Arc<Inner>, _: Call) -> Result<Answer, Refusal> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| Bytes::from(document(api.about.version).to_string()));
    Ok(Answer::of(200, document.clone()))
}

/// The document.
#[must_use]
pub fn document(version: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = COMPONENTS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        paths.entry(route.path).or_default().insert(route.method.to_lowercase(), operation);
    }
    // Parameters refer to it.
    generator.subschema_for::<Time>();
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "Mainstem",
            "version": version,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Topics, records, groups and the node itself. Every answer is JSON. Fields and parameters \
                that are not known are refused; answers may get more fields.",
        },
        "servers": [{ "url": "/" }],
        "security": [],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let in_path = path::names(route.path).filter_map(|name| NAMES.iter().find(|known| known.name == name));
    let mut parameters: Vec<Value> = in_path.map(|known| parameter(known, "path")).collect();
    parameters.extend(route.parameters.iter().map(|known| parameter(known, "query")));
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route, generator),
    });
    if let Some(body) = &route.body {
        operation["requestBody"] = json!({
            "required": true,
            "description": format!("At most {} bytes.", body.bytes_max),
            "content": content(body.schema, generator),
        });
    }
    operation
}

fn parameter(parameter: &Parameter, place: &str) -> Value {
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": parameter.kind.schema(),
    })
}

fn content(schema: SchemaOf, generator: &mut SchemaGenerator) -> Value {
    json!({ "application/json": { "schema": schema(generator) } })
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for success in route.successes {
        let mut response = json!({ "description": success.about });
        if let Some(schema) = success.schema {
            response["content"] = content(schema, generator);
        }
        responses.insert(success.status.to_string(), response);
    }
    for (status, codes) in refusals(route) {
        let meanings: Vec<String> = codes.iter().map(|code| format!("{}: {}", code.name(), code.meaning())).collect();
        let response = json!({
            "description": meanings.join("\n"),
            "content": content(SchemaGenerator::subschema_for::<ErrorBody>, generator),
        });
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

/// What may go wrong, by status.
fn refusals(route: &Route) -> BTreeMap<u16, Vec<Code>> {
    let of_body = if route.body.is_some() { OF_BODY } else { &[Code::InvalidBody] };
    let mut codes: Vec<Code> = [ANY, of_body, route.codes].concat();
    codes.sort_unstable();
    codes.dedup();
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_the_reverse() {
        let document = document("1");
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
        });
        let mut documented: Vec<_> = operations.collect();
        let mut routed: Vec<_> = ROUTES.iter().map(|route| (route.path.to_owned(), route.method.to_owned())).collect();
        documented.sort();
        routed.sort();
        assert_eq!(documented, routed);
        for (path, method) in documented {
            // A path with its names left as they are is a path with other names, but for numbers.
            let asked = path.replace("{partition}", "0").replace("{node}", "1").replace(['{', '}'], "");
            let (route, names) = crate::route::find(&method, &asked).unwrap();
            assert_eq!((route.path, route.method), (path.as_str(), method.as_str()));
            assert_eq!(names.len(), path::names(&path).count());
            assert!(path::names(&path).all(|name| NAMES.iter().any(|known| known.name == name)), "{path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_described() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        found.push(to);
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document("1");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{reference}");
        }
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}");
        }
    }

    #[test]
    fn ids_of_operations_are_all_different() {
        let mut ids: Vec<_> = ROUTES.iter().map(|route| route.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ROUTES.len());
    }
}
