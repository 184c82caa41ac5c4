//! Components by their shape: which nests which, and which are instantiated how often, by whatever index. However it is
//! written, what is accepted makes no more instances than a compiler can bear; and what makes few is not called too complex.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentOuterAliasKind, InstanceSection, Module, ModuleArg, NestedComponentSection,
};
use weir_fuzz::guest::{RefusedComponent, check_structure};

/// What is written in a component, in this order.
#[derive(Debug, Arbitrary)]
enum Part {
    Module,
    /// Of the first module.
    CoreInstances(u8),
    Component(Vec<Part>),
    /// Of the component that has this index, modulo how many there are.
    Instances {
        component: u8,
        times: u8,
    },
    /// Another index for a component of one that is this far out.
    Outer {
        out: u8,
        component: u8,
    },
    /// Another index for a component of this one.
    Export {
        component: u8,
    },
}

/// What one copy of a component costs.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Core instances, over all nesting.
    core: u64,
    /// Those, and one for each component that is instantiated.
    all: u64,
    depth: usize,
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(parts) = Vec::<Part>::arbitrary(&mut Unstructured::new(bytes)) else { return Corpus::Reject };
    let mut built = Built::default();
    let (component, cost) = build(&parts, &mut built);
    let refused = check_structure(&component.finish()).err();
    let is_too_complex = matches!(refused, Some(RefusedComponent::TooComplex(_)));
    // It exports nothing, so it is refused in any case.
    assert!(is_too_complex || matches!(refused, Some(RefusedComponent::NotAnOperator(_))), "{refused:?} {parts:?}");
    if cost.core > 64 || cost.depth > 8 {
        assert!(is_too_complex, "{cost:?} {parts:?}");
    }
    if built.most <= 64 && cost.depth <= 8 {
        assert!(!is_too_complex, "{refused:?} {cost:?} {parts:?}");
    }
    Corpus::Keep
});

#[derive(Default)]
struct Built {
    /// What each component that is open can name.
    open: Vec<Vec<Cost>>,
    /// Of any component, also of one that nobody instantiates.
    most: u64,
}

fn build(parts: &[Part], built: &mut Built) -> (Component, Cost) {
    let (mut component, mut cost) = (Component::new(), Cost::default());
    let (mut modules, mut exports) = (0, 0);
    built.open.push(Vec::new());
    for part in parts {
        let here = built.open.last().expect("it was pushed").clone();
        let named = |index: u8| (!here.is_empty()).then(|| usize::from(index) % here.len());
        match part {
            Part::Module => {
                component.section(&wasm_encoder::ModuleSection(&Module::new()));
                cost.depth = cost.depth.max(1);
                modules += 1;
            }
            Part::CoreInstances(times) if modules > 0 => {
                // Few enough of each that it is their product which is too many.
                let times = times % 48;
                let mut section = InstanceSection::new();
                for _ in 0..times {
                    section.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
                }
                component.section(&section);
                cost.core += u64::from(times);
                cost.all += u64::from(times);
            }
            Part::Component(parts) => {
                let (inner, inner_cost) = build(parts, built);
                component.section(&NestedComponentSection(&inner));
                cost.depth = cost.depth.max(inner_cost.depth);
                built.open.last_mut().expect("it was pushed").push(inner_cost);
            }
            Part::Instances { component: index, times } => {
                let Some(index) = named(*index) else { continue };
                let times = times % 6;
                let mut section = ComponentInstanceSection::new();
                for _ in 0..times {
                    let none = std::iter::empty::<(&str, ComponentExportKind, u32)>();
                    section.instantiate(index as u32, none);
                }
                component.section(&section);
                let (copy, times) = (here[index], u64::from(times));
                cost.core = cost.core.saturating_add(copy.core.saturating_mul(times));
                cost.all = cost.all.saturating_add(copy.all.saturating_add(1).saturating_mul(times));
            }
            Part::Outer { out, component: index } => {
                let out = usize::from(*out) % built.open.len();
                let there = &built.open[built.open.len() - 1 - out];
                if there.is_empty() {
                    continue;
                }
                let index = usize::from(*index) % there.len();
                let copy = there[index];
                let mut section = ComponentAliasSection::new();
                let kind = ComponentOuterAliasKind::Component;
                section.alias(Alias::Outer { kind, count: out as u32, index: index as u32 });
                component.section(&section);
                built.open.last_mut().expect("it was pushed").push(copy);
            }
            Part::Export { component: index } => {
                let Some(index) = named(*index) else { continue };
                let mut section = ComponentExportSection::new();
                exports += 1;
                let name = format!("e{exports}");
                section.export(&name, ComponentExportKind::Component, index as u32, None);
                component.section(&section);
                built.open.last_mut().expect("it was pushed").push(here[index]);
            }
            Part::CoreInstances(_) => {}
        }
    }
    built.open.pop();
    built.most = built.most.max(cost.all);
    cost.depth += 1;
    (component, cost)
}
